-- For tests/test_lua.c: what a file returns is the result, nothing is checked.
local host = ...

return function(value)
  return value
end, function(value)
  if value == "refuse" then
    host.refuse("refused: as asked")
  elseif value == "host" then
    return { input = host.input, file = host.file, nearest = host.nearest("bp_fp23", { "bp_fp32", "ff_int8" }),
      sources = host.sources() }
  end
  return value
end
