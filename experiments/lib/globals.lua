-- What makes a script's output depend on its input only, and a misspelt name an error where it stands.

local next = next
local order = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local kind_a, kind_b = type(a), type(b)
  if kind_a ~= kind_b then
    return order[kind_a] < order[kind_b]
  end
  if kind_a == "boolean" then
    return a and not b
  end
  return a < b
end

-- pairs() in sorted order: numbers, then texts.
local function sorted_pairs(values)
  local keys = {}
  for key in next, values do
    if not order[type(key)] then
      error("pairs: a key that is a " .. type(key) .. " has no place in an order", 2)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys, before)
  local at = 0
  return function()
    repeat
      at = at + 1
    until keys[at] == nil or values[keys[at]] ~= nil
    if keys[at] == nil then
      return nil
    end
    return keys[at], values[keys[at]]
  end
end

-- Called once with _G. next goes too, because its order is random.
return function(globals, nearest)
  globals.pairs = sorted_pairs
  globals.next = nil
  setmetatable(globals, {
    __metatable = false,
    __index = function(_, name)
      local names = {}
      for known in sorted_pairs(globals) do
        names[#names + 1] = known
      end
      local meant = nearest(tostring(name), names)
      error(('unknown name "%s"%s'):format(tostring(name), meant and (': did you mean "' .. meant .. '"?') or ""), 2)
    end,
    __newindex = function(_, name)
      error(('"%s" would become global: write local %s'):format(tostring(name), tostring(name)), 2)
    end,
  })
end
