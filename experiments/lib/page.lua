-- The page of all experiments: verdicts first, then each report, the machines, how to repeat it, and the records. One
-- file: style and pictures stand in it, nothing is loaded and nothing runs. The program runs this file in place of an
-- experiment (harness/page.h); what it gets is {profile, version, sections} with the sections of lib.sections.
local html = require "lib.html"
local style = require "lib.style"
local summary = require "lib.summary"
local verdicts = require "lib.verdicts"

-- How a verdict is coloured, if not as an open one.
local classes = { reproduced = "good", ["within spread"] = "fair", ["not reproduced"] = "bad",
  ["the paper contradicts itself"] = "odd" }

local function class_of(verdict)
  return classes[verdict] or "open"
end

local each, given, short_title = summary.each, summary.given, summary.short_title

local function section_id(section)
  return "experiment-" .. html.escape(section.name)
end

-- Tables, then figures, then the others, each by name.
local function in_order(sections)
  local function rank(section)
    return section.name:find("^table") and 1 or section.name:find("^fig") and 2 or 3
  end
  table.sort(sections, function(a, b)
    local rank_a, rank_b = rank(a), rank(b)
    return rank_a < rank_b or (rank_a == rank_b and a.name < b.name)
  end)
  return sections
end

-- ---- verdicts ----------------------------------------------------------------------------------------------------

local function totals(sections)
  local names, counts = given(sections)
  local items = {}
  for i, name in ipairs(names) do
    items[i] = ('<li class="%s"><strong>%d</strong> %s</li>'):format(class_of(name), counts[name], html.text(name))
  end
  return #items > 0 and '<ul class="totals">\n' .. table.concat(items, "\n") .. "\n</ul>"
    or html.paragraph("No claim was judged.")
end

local function by_experiment(sections)
  local names = given(sections)
  local columns, rows = { { title = "Experiment", align = "left" }, { title = "Runs", align = "right" } }, {}
  for _, name in ipairs(names) do
    columns[#columns + 1] = { title = name, align = "right" }
  end
  for i, section in ipairs(sections) do
    local counts = verdicts.counts(section.verdicts or {})
    rows[i] = { ('<a href="#%s">%s</a>'):format(section_id(section), html.text(short_title(section))),
      summary.runs_text(section) }
    for _, name in ipairs(names) do
      rows[i][#rows[i] + 1] = section.missing and "-" or tostring(counts[name] or 0)
    end
  end
  return html.grid(columns, rows, "Verdicts by experiment")
end

local claim_columns = {}
for i, title in ipairs { "Claim", "Verdict", "Paper", "Here" } do
  claim_columns[i] = { title = title, align = "left" }
end

local function claim_row(entry, with_network)
  local reason = entry.reason and entry.reason ~= "" and "<br/><small>" .. html.text(entry.reason) .. "</small>" or ""
  local verdict = ('<span class="verdict %s">%s</span>'):format(class_of(entry.verdict), html.text(verdicts.text(entry)))
  for _, text in ipairs(entry.doubts or {}) do
    reason = reason .. "<br/><small>" .. html.text(text) .. "</small>"
  end
  local text = (with_network and entry.network and entry.network .. ": " or "") .. entry.text
  return {
    html.text(text) .. "<br/><small>" .. html.text(entry.place) .. "</small>", verdict .. reason,
    entry.expected ~= "" and html.text(entry.expected) or "-", html.linked(html.text(entry.measured), entry.files),
  }
end

-- A claim that was judged before one that was not.
local function ranked(entries)
  local list = table.move(entries, 1, #entries, 1, {})
  local place = {}
  for i, entry in ipairs(entries) do
    place[entry] = i
  end
  table.sort(list, function(a, b)
    local open_a, open_b = a.verdict == "not measured", b.verdict == "not measured"
    if open_a ~= open_b then
      return open_b
    end
    return place[a] < place[b]
  end)
  return list
end

local function claims(section)
  local several = verdicts.count_networks(section.verdicts) > 1
  local rows = {}
  for i, entry in ipairs(ranked(section.verdicts)) do
    rows[i] = claim_row(entry, several)
  end
  return ("<details>\n<summary><strong>%s</strong>: %s</summary>\n%s\n</details>"):format(html.text(section.title),
    html.text(verdicts.summary(section.verdicts)), html.grid(claim_columns, rows, "Claims of " .. section.title))
end

local function main_claims(sections)
  local rows = {}
  for i, pair in ipairs(summary.headlines(sections)) do
    rows[i] = claim_row(pair[1], true)
  end
  return #rows > 0 and "<h3>What a reader asks first</h3>\n" .. html.grid(claim_columns, rows, "What a reader asks first")
    .. "\n<h3>All claims</h3>" or nil
end

local function verdict_section(sections)
  local parts = { '<section id="verdicts">', "<h2>Verdicts</h2>", totals(sections), by_experiment(sections) }
  parts[#parts + 1] = main_claims(sections)
  for _, section in ipairs(sections) do
    if #(section.verdicts or {}) > 0 then
      parts[#parts + 1] = claims(section)
    end
  end
  parts[#parts + 1] = html.paragraph("Here: the mean over seeds ± half of its 95 % interval. A number links to its records.")
  parts[#parts + 1] = "</section>"
  return table.concat(parts, "\n")
end

-- ---- reports -----------------------------------------------------------------------------------------------------

-- As an image, so that names in one drawing cannot meet those of another.
local function picture(svg)
  return "data:image/svg+xml," .. svg:gsub("[^%w%-_.~!*()/:;=,@]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
end

local function figure(block, pictures)
  local svg = (pictures or {})[block.figure]
  local shown = svg and ('<img alt="%s" src="%s"/>'):format(html.escape(block.title), picture(svg))
    or html.paragraph("Not drawn, because gnuplot is missing where this page was made.")
  return ("<figure>\n%s\n<figcaption><strong>%s.</strong> %s</figcaption>\n</figure>"):format(shown, html.text(block.title),
    html.text(block.caption))
end

local function banner(texts)
  local parts = {}
  for i, text in ipairs(texts or {}) do
    parts[i] = html.paragraph(text, "banner")
  end
  return parts
end

local function report(section)
  local parts = { ('<section id="%s">'):format(section_id(section)), "<h2>" .. html.text(section.title) .. "</h2>" }
  if section.missing then
    parts[#parts + 1] = html.paragraph("No run of it has a record yet.")
  else
    local banners = banner(section.banner)
    table.move(banners, 1, #banners, #parts + 1, parts)
    parts[#parts + 1] = html.paragraph(section.stamp, "stamp")
    for _, block in ipairs(section.blocks) do
      parts[#parts + 1] = block.figure and figure(block, section.pictures) or block.html
    end
  end
  parts[#parts + 1] = "</section>"
  return table.concat(parts, "\n")
end

-- ---- where it comes from -----------------------------------------------------------------------------------------

-- Each record once, in the order of the experiments that use it.
local function unique_records(sections)
  local list, of_file = {}, {}
  each(sections, "records", function(record, section)
    if not of_file[record.file] then
      of_file[record.file] = record
      record.users = {}
      list[#list + 1] = record
    end
    table.insert(of_file[record.file].users, short_title(section))
  end)
  return list
end

-- What differs among the records, with how many have it: list of {value, count}.
local function tally(records, key_of)
  local list, of_key = {}, {}
  for _, record in ipairs(records) do
    local key = key_of(record)
    if not of_key[key] then
      of_key[key] = { record, 0 }
      list[#list + 1] = of_key[key]
    end
    of_key[key][2] = of_key[key][2] + 1
  end
  return list
end

local function count_text(count)
  return ("%d record%s"):format(count, count == 1 and "" or "s")
end

-- Above all else: how many records have something doubtful, and what.
local function doubt_banners(records)
  local counts, order, parts = {}, {}, {}
  for _, record in ipairs(records) do
    for _, text in ipairs(record.doubts or {}) do
      order[#order + 1] = not counts[text] and text or nil
      counts[text] = (counts[text] or 0) + 1
    end
  end
  for i, text in ipairs(order) do
    parts[i] = html.paragraph(("%d of %s %s."):format(counts[text], count_text(#records), text), "banner")
  end
  return parts
end

local function machine_key(record)
  local parts = {}
  for i, pair in ipairs(record.machine) do
    parts[i] = pair[1] .. "=" .. pair[2]
  end
  return table.concat(parts, "\n")
end

local function machine_list(record)
  local parts = {}
  for i, pair in ipairs(record.machine) do
    parts[i] = ("<dt>%s</dt><dd>%s</dd>"):format(html.text(pair[1]), html.escape(pair[2]))
  end
  return "<dl>\n" .. table.concat(parts, "\n") .. "\n</dl>"
end

local function machines(records)
  local parts = { '<section id="machine">', "<h2>Machine and provenance</h2>" }
  for _, entry in ipairs(tally(records, machine_key)) do
    parts[#parts + 1] = ("<h3>%s: %s</h3>"):format(html.text(entry[1].processor), count_text(entry[2]))
    parts[#parts + 1] = machine_list(entry[1])
  end
  local lines = {}
  for _, entry in ipairs(tally(records, function(record) return record.dataset .. " " .. record.sha256 end)) do
    lines[#lines + 1] = ("Dataset %s, %s, SHA-256 `%s`: %s"):format(entry[1].dataset, entry[1].kind, entry[1].sha256,
      count_text(entry[2]))
  end
  for _, entry in ipairs(tally(records, function(record) return record.commit .. tostring(record.dirty) end)) do
    lines[#lines + 1] = ("Commit `%s`%s: %s"):format(entry[1].commit, entry[1].dirty and " with changes" or "",
      count_text(entry[2]))
  end
  local shared = 0
  for _, record in ipairs(records) do
    shared = shared + (record.shared and 1 or 0)
  end
  lines[#lines + 1] = shared > 0 and ("Other programs used more than 5 %% of the machine during %d of the %s: their times and "
    .. "energies say little."):format(shared, count_text(#records)) or nil
  parts[#parts + 1] = html.list(lines)
  parts[#parts + 1] = "</section>"
  return table.concat(parts, "\n")
end

local function command_of(section, profile)
  local name = section.file:match("experiments/([%w_-]+)%.lua$")
  local changes = {}
  for _, change in ipairs(section.changes or {}) do
    changes[#changes + 1] = "--set " .. change
  end
  local more = table.concat(changes, " ")
  if name then
    return ("make reproduce-%s PROFILE=%s%s"):format(name, profile, more ~= "" and (" RUN_OPTIONS='%s'"):format(more) or "")
  end
  return ("ffbench run %s --profile %s%s"):format(section.file:match("[^/]+$"), profile, more ~= "" and " " .. more or "")
end

local function how_to_repeat(sections, records, input)
  local commits, commands = tally(records, function(record) return record.commit end), {}
  if #commits == 1 and not records[1].dirty and records[1].commit ~= "-" then
    commands[1] = "git checkout " .. records[1].commit
  end
  for _, section in ipairs(sections) do
    commands[#commands + 1] = command_of(section, input.profile)
  end
  commands[#commands + 1] = "make report PROFILE=" .. input.profile
  return table.concat({ '<section id="repeat">', "<h2>How to repeat it</h2>",
    html.paragraph("In a clone of the repository, on Debian or Ubuntu with git, make and a C compiler. What has a record is "
      .. "not trained again; the last line makes this page, without training."),
    '<pre tabindex="0"><code>' .. html.escape(table.concat(commands, "\n")) .. "</code></pre>",
    html.paragraph("Each run alone: the command beside its record, below."), "</section>" }, "\n")
end

local function record_row(record)
  return {
    id = html.record_id(record.file),
    "<code>" .. html.escape(record.run) .. "</code>", "<code>" .. html.escape(record.file) .. "</code>",
    html.text(record.network) .. ", " .. html.text(record.row), html.escape(record.seed), html.text(record.status),
    html.text(table.concat(record.users, "; ")), html.text(record.dataset .. ", " .. record.kind) .. " <code>"
      .. html.escape(record.sha256:sub(1, 12)) .. "</code>", "<code>" .. html.escape(record.commit:sub(1, 12)) .. "</code>"
      .. (record.dirty and " with changes" or ""),
    html.text(record.processor), html.escape(record.finished), "<code>" .. html.escape(record.command) .. "</code>",
  }
end

local function record_table(records)
  local columns, rows = {}, {}
  for i, title in ipairs { "Run", "File", "Row", "Seed", "Status", "Used by", "Dataset", "Commit", "Machine", "Finished",
    "Command" } do
    columns[i] = { title = title, align = title == "Seed" and "right" or "left" }
  end
  for i, record in ipairs(records) do
    rows[i] = record_row(record)
  end
  return table.concat({ '<section id="records">', "<h2>Records</h2>",
    html.paragraph("Files of the folder records beside this page's tables. Every number measured here comes from them."),
    html.grid(columns, rows, "Records"), "</section>" }, "\n")
end

-- ---- the page ----------------------------------------------------------------------------------------------------

local head = [[<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"/>
<title>%s</title>
<style>
%s</style>
</head>
<body>
<header>
<h1>%s</h1>
<p>%s: %s of %s.</p>
</header>
<main>]]

local function plural(count, noun)
  return ("%d %s%s"):format(count, noun, count == 1 and "" or "s")
end

return function(input)
  local sections = in_order(input.sections)
  local records = unique_records(sections)
  local title = #sections == 1 and sections[1].title or "FF-INT8: tables and figures of the paper, measured again"
  local reported = 0
  for _, section in ipairs(sections) do
    reported = reported + (section.missing and 0 or 1)
  end
  local profile = summary.profile_text(sections, input.profile):gsub("^%l", string.upper)
  local parts = { head:format(html.escape(title), style, html.text(title), html.text(profile), count_text(#records),
    plural(reported, "experiment")) }
  local doubts = doubt_banners(records)
  table.move(doubts, 1, #doubts, #parts + 1, parts)
  parts[#parts + 1] = verdict_section(sections)
  for _, section in ipairs(sections) do
    parts[#parts + 1] = report(section)
  end
  parts[#parts + 1] = machines(records)
  parts[#parts + 1] = how_to_repeat(sections, records, input)
  parts[#parts + 1] = record_table(records)
  local made_by = html.paragraph("Made by " .. input.version .. ".")
  parts[#parts + 1] = "</main>\n<footer>\n" .. made_by .. "\n</footer>\n</body>\n</html>"
  return table.concat(parts, "\n") .. "\n", summary.markdown(sections, input.profile)
end
