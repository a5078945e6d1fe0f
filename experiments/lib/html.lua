-- Blocks of a report as HTML. Every text is escaped; what comes out is well-formed XML too.
local results_of = require "lib.results"
local tables = require "lib.tables"

local html = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Control characters have no place in HTML, escaped or not.
function html.escape(text)
  local plain = tostring(text):gsub(results_of.trace_mark, ""):gsub("[%z\1-\8\11\12\14-\31\127]", "\u{FFFD}")
  return (plain:gsub("[&<>\"']", entities))
end

-- `code` as in Markdown.
function html.text(text)
  return (html.escape(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

function html.paragraph(text, class)
  return ("<p%s>%s</p>"):format(class and ' class="' .. class .. '"' or "", html.text(text))
end

-- Where the page tells of a record.
function html.record_id(file)
  return "record-" .. html.escape(file:gsub("%.json$", ""))
end

-- A number that links to its first record and names all.
function html.linked(markup, files)
  if not files or #files == 0 then
    return markup
  end
  return ('<a href="#%s" title="%s">%s</a>'):format(html.record_id(files[1]), html.escape(table.concat(files, " ")), markup)
end

-- A text of a report, each number in it linked to the records that results:traced put behind it.
local function traced(text, traces)
  local parts, from = {}, 1
  for before, index, after in text:gmatch("()" .. results_of.trace_mark .. "()") do
    parts[#parts + 1] = html.linked(html.text(text:sub(from, before - 1)), traces[tonumber(index)])
    from = after
  end
  parts[#parts + 1] = html.text(text:sub(from))
  return table.concat(parts)
end

function html.list(texts, traces)
  local items = {}
  for i, text in ipairs(texts) do
    items[i] = "<li>" .. traced(text, traces or {}) .. "</li>"
  end
  return #items > 0 and "<ul>\n" .. table.concat(items, "\n") .. "\n</ul>" or ""
end

local function row_of(cells, columns, tag)
  local parts = {}
  for i, column in ipairs(columns) do
    local name = (tag == "th" or (i == 1 and column.align == "left")) and "th" or "td"
    local scope = name == "th" and (tag == "th" and ' scope="col"' or ' scope="row"') or ""
    parts[i] = ("<%s%s%s>%s</%s>"):format(name, scope, column.align == "right" and ' class="number"' or "", cells[i] or "",
      name)
  end
  return "<tr>" .. table.concat(parts) .. "</tr>"
end

-- rows: list of lists of markup, each with an id and a class if it has them. The box scrolls where the table is too wide.
function html.grid(columns, rows, label)
  local titles, lines = {}, {}
  for i, column in ipairs(columns) do
    titles[i] = html.text(column.title)
  end
  for i, row in ipairs(rows) do
    local line = row_of(row, columns, "td")
    lines[i] = row.id and line:gsub("^<tr>", function() return '<tr id="' .. row.id .. '">' end) or line
  end
  return ('<div class="wide" role="region" tabindex="0" aria-label="%s"><table>\n<thead>%s</thead>\n<tbody>\n%s\n</tbody>\n'
    .. "</table></div>"):format(html.escape(label), row_of(titles, columns, "th"), table.concat(lines, "\n"))
end

local function table_markup(list, traces, label)
  local rows = {}
  for i, row in ipairs(list.rows) do
    rows[i] = {}
    for k in ipairs(list.columns) do
      rows[i][k] = traced(row[k] or "", traces)
    end
  end
  return html.grid(list.columns, rows, list.columns[1].title ~= "" and list.columns[1].title or label)
end

-- A block that is no figure.
function html.block(block, traces, label)
  if tables.is(block) then
    return table_markup(block, traces, label)
  elseif type(block) == "string" then
    return "<p>" .. traced(block, traces) .. "</p>"
  elseif block.heading then
    return "<h3>" .. html.text(block.heading) .. "</h3>"
  end
  return html.list(block.list, traces)
end

return html
