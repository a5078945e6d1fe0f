-- The experiments' Lua: what the program gives them (harness/lua_host.h).
std = { read_globals = {
  "_G", "assert", "error", "getmetatable", "ipairs", "math", "next", "pairs", "pcall", "print", "rawequal", "rawget",
  "rawlen", "rawset", "require", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8",
  "xpcall", "experiment",
} }
max_line_length = 128
