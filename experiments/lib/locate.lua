-- Where in the source a part of an experiment stands, so that an error can name file and line. A table knows nothing of
-- the text that it was made from, so the text is read again: only as far as nested table constructors go.

local brackets = { ["{"] = 1, ["["] = 1, ["("] = 1, ["}"] = -1, ["]"] = -1, [")"] = -1 }
local blocks = { ["function"] = 1, ["if"] = 1, ["do"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1 }

-- The end of the token at `at`, its kind (nil for white space and comments) and, for a name or a text, what it says.
local function token_at(text, at)
  local _, to = text:find("^%s+", at)
  if to then
    return to
  end
  local _, _, level = text:find("^%-%-%[(=*)%[", at)
  if level then
    _, to = text:find("]" .. level .. "]", at, true)
    return to or #text
  end
  if text:find("^%-%-", at) then
    return (text:find("\n", at, true) or #text + 1) - 1
  end
  _, to = text:find("^[%a_][%w_]*", at)
  if to then
    return to, "name", text:sub(at, to)
  end
  _, to = text:find("^%.?%d[%w_%.]*", at)
  if to then
    return to, "number", text:sub(at, to)
  end
  _, _, level = text:find("^%[(=*)%[", at)
  if level then
    _, to = text:find("]" .. level .. "]", at, true)
    return to or #text, "text", text:sub(at + 2 + #level, (to or #text) - 2 - #level)
  end
  local quote = text:sub(at, at)
  if quote == '"' or quote == "'" then
    to = at + 1
    while to <= #text and text:sub(to, to) ~= quote do
      to = to + (text:sub(to, to) == "\\" and 2 or 1)
    end
    return to, "text", text:sub(at + 1, to - 1)
  end
  if text:find("^[=~<>]=", at) then
    return at + 1, "symbol", text:sub(at, at + 1)
  end
  return at, "symbol", quote
end

local function tokens_of(text)
  local tokens, at, line = {}, 1, 1
  while at <= #text do
    local to, kind, says = token_at(text, at)
    if kind then
      tokens[#tokens + 1] = { kind = kind, says = says, line = line }
    end
    local _, breaks = text:sub(at, to):gsub("\n", "")
    line = line + breaks
    at = to + 1
  end
  return tokens
end

local function is(token, kind, says)
  return token ~= nil and token.kind == kind and token.says == says
end

-- The fields of the constructor whose opening brace is token `at`: key -> {line =, value = first token}.
local function fields_of(tokens, at)
  local fields, position = {}, 0
  at = at + 1
  while tokens[at] and not is(tokens[at], "symbol", "}") do
    local line, value = tokens[at].line, at
    local key
    if tokens[at].kind == "name" and is(tokens[at + 1], "symbol", "=") then
      key, value = tokens[at].says, at + 2
    elseif is(tokens[at], "symbol", "[") and is(tokens[at + 2], "symbol", "]") and is(tokens[at + 3], "symbol", "=") then
      key, value = tonumber(tokens[at + 1].says) or tokens[at + 1].says, at + 4
    else
      position = position + 1
      key = position
    end
    fields[key] = fields[key] or { line = line, value = value }
    local depth = 0
    at = value
    while tokens[at] do
      local token = tokens[at]
      if depth == 0 and token.kind == "symbol" and (token.says == "," or token.says == ";" or token.says == "}") then
        break
      end
      depth = depth + (token.kind == "symbol" and brackets[token.says] or token.kind == "name" and blocks[token.says] or 0)
      at = at + 1
    end
    if not is(tokens[at], "symbol", "}") then
      at = at + 1
    end
  end
  return fields
end

local function opening_brace(tokens)
  for i, token in ipairs(tokens) do
    if token.kind == "name" and token.says == "experiment" then
      for ahead = 1, 2 do
        if is(tokens[i + ahead], "symbol", "{") then
          return i + ahead
        end
      end
    end
  end
  return nil
end

-- Line of the deepest part of the path that the text spells out, and whether that is all of it.
local function find_path(tokens, path)
  local at = opening_brace(tokens)
  if not at then
    return nil, false
  end
  local line = tokens[at].line
  for step, key in ipairs(path) do
    local field = fields_of(tokens, at)[key]
    if not field then
      return line, false
    end
    line = field.line
    at = field.value
    if step < #path and not is(tokens[at], "symbol", "{") then
      return line, false
    end
  end
  return line, true
end

local function find_key(tokens, key)
  for i, token in ipairs(tokens) do
    if token.kind == "name" and token.says == key and is(tokens[i + 1], "symbol", "=") then
      return token.line
    end
  end
  return nil
end

-- sources: list of {file =, text =}, the experiment first. path: keys from the experiment's table inwards, such as
-- {"profiles", "smoke", "epochs"}. Returns "file:line", or the file alone.
return function(sources, path)
  local first = sources[1]
  local line, complete = find_path(tokens_of(first.text), path)
  if not complete and type(path[#path]) == "string" then
    for i = 2, #sources do
      local there = not sources[i].file:find("lib/", 1, true) and find_key(tokens_of(sources[i].text), path[#path])
      if there then
        return sources[i].file .. ":" .. there
      end
    end
  end
  return line and first.file .. ":" .. line or first.file
end
