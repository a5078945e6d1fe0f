-- Tables and text blocks, written for a terminal and as Markdown.
local tables = {}

local methods = {}
methods.__index = methods

-- columns: list of titles, of which the first stands left and the others right, or of {title =, align = "left" | "right"}.
function tables.new(columns)
  local list = {}
  for i, column in ipairs(columns) do
    list[i] = type(column) == "table" and column or { title = column, align = i == 1 and "left" or "right" }
  end
  return setmetatable({ columns = list, rows = {} }, methods)
end

-- One text per column.
function methods:add(...)
  self.rows[#self.rows + 1] = { ... }
end

function tables.is(value)
  return getmetatable(value) == methods
end

local function width(text)
  return utf8.len(text) or #text
end

local function padded(text, columns, align)
  local space = (" "):rep(columns - width(text))
  return align == "left" and text .. space or space .. text
end

local function widths_of(list)
  local widths = {}
  for i, column in ipairs(list.columns) do
    widths[i] = width(column.title)
    for _, row in ipairs(list.rows) do
      widths[i] = math.max(widths[i], width(row[i]))
    end
  end
  return widths
end

local function line_of(list, texts, widths, separator)
  local parts = {}
  for i, column in ipairs(list.columns) do
    parts[i] = padded(texts[i], widths[i], column.align)
  end
  return (table.concat(parts, separator):gsub("%s+$", ""))
end

local function titles_of(list)
  local titles = {}
  for i, column in ipairs(list.columns) do
    titles[i] = column.title
  end
  return titles
end

function tables.markdown(list)
  local widths, rules, lines = widths_of(list), {}, {}
  for i, column in ipairs(list.columns) do
    widths[i] = math.max(widths[i], 3)
    rules[i] = column.align == "left" and ("-"):rep(widths[i]) or ("-"):rep(widths[i] - 1) .. ":"
  end
  lines[1] = line_of(list, titles_of(list), widths, " | ")
  lines[2] = line_of(list, rules, widths, " | ")
  for i, row in ipairs(list.rows) do
    lines[i + 2] = line_of(list, row, widths, " | ")
  end
  return table.concat(lines, "\n")
end

function tables.terminal(list)
  local widths, lines, total = widths_of(list), {}, -2
  for i in ipairs(list.columns) do
    total = total + widths[i] + 2
  end
  lines[1] = line_of(list, titles_of(list), widths, "  ")
  lines[2] = ("-"):rep(total)
  for i, row in ipairs(list.rows) do
    lines[i + 2] = line_of(list, row, widths, "  ")
  end
  return table.concat(lines, "\n")
end

-- Lines of at most `columns`; `indent` in front of all but the first.
function tables.wrap(text, columns, indent)
  local lines, line = {}, nil
  for word in text:gmatch("%S+") do
    local longer = line and line .. " " .. word or (#lines > 0 and indent or "") .. word
    if line and width(longer) > columns then
      lines[#lines + 1] = line
      longer = (indent or "") .. word
    end
    line = longer
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

return tables
