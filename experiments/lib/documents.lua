-- A report as a document: title, banner, stamp, the author's blocks, footnotes, verdicts. Written as Markdown, as text
-- for a terminal, and its numbers as CSV.
--
-- A block is a text (a paragraph), a table from lib.tables, a figure from lib.figures, {heading = text} or
-- {list = {text...}}.

local costs = require "lib.costs"
local figures = require "lib.figures"
local results_of = require "lib.results"
local sections = require "lib.sections"
local tables = require "lib.tables"
local verdicts = require "lib.verdicts"

local documents = {}

local terminal_columns = 100

-- ---- banner and stamp --------------------------------------------------------------------------------------------

local function banner(results)
  return results:distinct(function(cell)
    if cell.planned_dataset == cell.config.dataset then
      return nil
    end
    return ("SYNTHETIC DATA: %s stands in for %s, which was not found here. No number below says anything about %s.")
      :format(cell.config.dataset, cell.planned_dataset, cell.planned_dataset)
  end)
end

local function of_record(path)
  return function(cell)
    return cell.record and results_of.at_path(cell.record, path)
  end
end

local function described_dataset(cell)
  local data = cell.record and cell.record.dataset
  if not data then
    return nil
  end
  return ("%s (%s, trained on %s records, tested on %s)"):format(data.name, results_of.data_kind(data), data.train_records,
    data.test_records)
end

local function commit(cell)
  local provenance = cell.record and cell.record.provenance
  return provenance and provenance.commit
    and provenance.commit:sub(1, 12) .. (provenance.dirty and " with changes" or "") or nil
end

local function day(cell)
  local finished = of_record("provenance.finished")(cell)
  return type(finished) == "string" and finished:sub(1, 10) or nil
end

local function numbers_text(values)
  if #values > 2 and values[#values] - values[1] == #values - 1 then
    return ("%s to %s"):format(values[1], values[#values])
  end
  return table.concat(values, ", ")
end

local function joined(values, what)
  return #values > 0 and what:format(table.concat(values, ", ")) or nil
end

local function foreign_commits(results, version)
  local foreign = {}
  for _, name in ipairs(results:distinct(of_record("provenance.commit"))) do
    if version and not version:find(name, 1, true) then
      foreign[#foreign + 1] = name:sub(1, 12)
    end
  end
  return joined(foreign, "Records made by another commit than this program's: %s")
end

local function stamp(results, plan)
  local parts = { (results:profile_text():gsub("^%l", string.upper)) }
  local function add(text)
    parts[#parts + 1] = text
  end
  add(joined(results:distinct(described_dataset), "%s"))
  local function config(key)
    return results:distinct(of_record("config." .. key))
  end
  if #config("epochs") > 0 then
    local function number(cell)
      return cell.record and cell.config.seed
    end
    add(("%s epoch%s, batch %s, seed%s %s"):format(numbers_text(config("epochs")),
      #config("epochs") == 1 and config("epochs")[1] == 1 and "" or "s", numbers_text(config("batch")),
      #results:distinct(number) > 1 and "s" or "", numbers_text(results:distinct(number))))
  end
  add(joined(plan.changes, "Changed on the command line: %s"))
  local threads = results:distinct(of_record("provenance.threads"))
  add(joined(results:distinct(of_record("provenance.machine.processor")), "%s"))
  if #threads > 0 then
    add(("%s thread%s, backend %s"):format(numbers_text(threads), #threads == 1 and threads[1] == 1 and "" or "s",
      table.concat(results:distinct(of_record("provenance.backend.name")), ", ")))
  end
  local modes = results:distinct(of_record("provenance.conditions.power_mode"))
  add(joined(modes, #modes > 1 and "Power modes %s, so times and joules are not of one machine" or "Power mode %s"))
  add(joined(results:distinct(commit), "Commit %s"))
  add(joined(results:distinct(day), "Records of %s"))
  add(foreign_commits(results, plan.version))
  return table.concat(parts, ". ") .. "."
end

-- ---- doubtful records --------------------------------------------------------------------------------------------

local superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹"

-- Behind what stands there, apart from another mark and from a number, whose power it would seem to be.
local function with_marks(text, marks)
  if marks == "" then
    return text
  end
  local last = text:match(utf8.charpattern .. "$")
  return text .. (last and superscripts:find(last, 1, true) and "," or tonumber(text) and " " or "") .. marks
end

local function files_of(texts, traces)
  local files = {}
  for _, text in ipairs(texts) do
    for index in text:gmatch(results_of.trace_mark) do
      local found = traces[tonumber(index)] or {} -- an author's own text may look like one
      table.move(found, 1, #found, #files + 1, files)
    end
  end
  return files
end

-- In every table, the lines with a number from a record that cannot be trusted. traced: the same blocks, made of results
-- that trace their numbers.
local function mark_doubts(blocks, results, traced_blocks, traces)
  for i, block in ipairs(blocks) do
    for k, texts in ipairs(tables.is(block) and block.rows or {}) do
      texts[1] = with_marks(texts[1], results:doubt_marks(files_of(traced_blocks[i].rows[k], traces)))
    end
  end
end

local function has_doubts(results)
  return #results:distinct(function(cell)
    return results_of.doubts_of({ cell })[1]
  end) > 0
end

-- ---- verdicts ----------------------------------------------------------------------------------------------------

local function count_text(entries)
  return ("%d claims: %s."):format(#entries, verdicts.summary(entries))
end

-- Texts in their first order, each with the networks that it was said of.
local function texts_by_network(entries, networks)
  local order, of_text, texts = {}, {}, {}
  for _, entry in ipairs(entries) do
    if not of_text[entry.text] then
      of_text[entry.text] = {}
      order[#order + 1] = entry.text
    end
    table.insert(of_text[entry.text], entry.network)
  end
  for i, text in ipairs(order) do
    local named = of_text[text]
    local everywhere = networks == 1 or #named == 0 or #named == networks
    texts[i] = everywhere and text or ("%s (%s)"):format(text, table.concat(named, ", "))
  end
  return texts
end

local function verdict_lines(entries)
  local lines, unmeasured, reasons, networks = {}, {}, {}, verdicts.count_networks(entries)
  for _, entry in ipairs(entries) do
    if entry.verdict == "not measured" then
      if not unmeasured[entry.reason] then
        unmeasured[entry.reason] = {}
        reasons[#reasons + 1] = entry.reason
      end
      table.insert(unmeasured[entry.reason], entry)
    elseif entry.claim.kind == "contradiction" then
      lines[#lines + 1] = ("%s: %s (%s). %s"):format(entry.verdict, entry.text, entry.claim.place, entry.reason)
    elseif not entry.claim.paper then
      local where = networks > 1 and entry.network and entry.network .. ", " or ""
      lines[#lines + 1] = ("%s: %s%s: %s; here %s"):format(verdicts.text(entry), where, entry.text,
        entry.expected, entry.measured)
    end
  end
  for _, reason in ipairs(reasons) do
    local texts = texts_by_network(unmeasured[reason], networks)
    lines[#lines + 1] = ("not measured (%s): %s"):format(reason, table.concat(texts, "; "))
  end
  return lines
end

-- Of the paper's numbers, its sentences being lines: one table for each network, and one for what is said of all.
local function verdict_tables(entries, results)
  local several, lists, of_network = verdicts.count_networks(entries) > 1, {}, {}
  for _, entry in ipairs(entries) do
    if entry.verdict ~= "not measured" and entry.claim.paper then
      local title = several and (entry.network or "All networks") or "Claim"
      if not of_network[title] then
        of_network[title] = tables.new { title, "Paper", "Here", { title = "Verdict", align = "left" } }
        lists[#lists + 1] = of_network[title]
      end
      local text = with_marks(entry.text, results:doubt_marks(sections.files_of(entry.rows)))
      of_network[title]:add(text, entry.expected, entry.measured, verdicts.text(entry))
    end
  end
  return lists
end

local function verdict_blocks(entries, results)
  local blocks = { { heading = "Verdicts" }, count_text(entries) .. " Here: mean over seeds ± half of its 95 % interval." }
  local lists = verdict_tables(entries, results)
  table.move(lists, 1, #lists, #blocks + 1, blocks)
  blocks[#blocks + 1] = { list = verdict_lines(entries) }
  return blocks
end

-- ---- documents ---------------------------------------------------------------------------------------------------

local function check_blocks(blocks, name)
  if type(blocks) ~= "table" or tables.is(blocks) or figures.is(blocks) then
    blocks = { blocks }
  end
  for i, block in ipairs(blocks) do
    local known = type(block) == "string" or tables.is(block) or figures.is(block)
      or (type(block) == "table" and (block.heading or block.list))
    if not known then
      error(("%s: block %d of the report is a %s; it must be a text, a table, a figure, {heading = ...} or {list = ...}")
        :format(name, i, type(block)), 0)
    end
  end
  return blocks
end

local function assemble(results, plan, blocks, parts, brief)
  local document = { title = plan.title, banner = banner(results), stamp = stamp(results, plan), blocks = {}, brief = {},
    draws = plan.draws }
  local function add_all(list)
    for _, block in ipairs(list) do
      document.blocks[#document.blocks + 1] = block
    end
  end
  add_all(blocks)
  if #results.notes > 0 then
    local notes = {}
    for i, text in ipairs(results.notes) do
      notes[i] = results.marks[text] .. " " .. text
    end
    add_all { { list = notes } }
  end
  table.move(document.blocks, 1, #document.blocks, 1, document.brief)
  add_all(parts)
  document.brief[#document.brief + 1] = brief
  return document
end

-- The report. Its Markdown has the verdicts in full, its text for a terminal says how many there are of each. trace() makes
-- the same results anew, with numbers that carry the way to their records.
function documents.new(results, plan, trace)
  local blocks = check_blocks((plan.report or costs.report)(results), plan.name)
  if has_doubts(results) then
    local traced = trace()
    mark_doubts(blocks, results, check_blocks((plan.report or costs.report)(traced), plan.name), traced.traces)
  end
  local entries = verdicts.judge(results, plan)
  local parts = #entries > 0 and verdict_blocks(entries, results) or {}
  parts[#parts + 1] = ("Every number stands in %s.csv with the records that it comes from."):format(plan.name)
  return assemble(results, plan, blocks, parts, #entries > 0 and count_text(entries) or nil)
end

-- The report's part of the page of all experiments; traced: results whose numbers carry the way to their records.
function documents.section(traced, plan, file)
  local blocks = check_blocks((plan.report or costs.report)(traced), plan.name)
  mark_doubts(blocks, traced, blocks, traced.traces)
  return sections.new(assemble(traced, plan, blocks, {}), traced, plan, verdicts.judge(traced, plan), file)
end

-- What `ffbench check` says: gates first, then the verdicts.
function documents.check(results, plan, gates)
  local blocks = { { heading = "Gates of " .. results:profile_text() } }
  local lines = {}
  for i, gate in ipairs(gates) do
    lines[i] = ("%s: %s, %s: %s"):format(gate.status, gate.subject, gate.wanted, gate.found)
  end
  blocks[2] = #gates > 0 and { list = lines } or "This profile declares none."
  local entries = verdicts.judge(results, plan)
  local parts = #entries > 0 and verdict_blocks(entries, results) or {}
  table.move(parts, 1, #parts, #blocks + 1, blocks)
  return assemble(results, plan, blocks, {})
end

local function list_text(block)
  local lines = {}
  for i, text in ipairs(block.list) do
    lines[i] = tables.wrap("- " .. text, terminal_columns, "  ")
  end
  return table.concat(lines, "\n")
end

local function join(parts, blocks, table_text, figure_text, heading)
  for _, block in ipairs(blocks) do
    local text = type(block) == "string" and tables.wrap(block, terminal_columns) or tables.is(block) and table_text(block)
      or figures.is(block) and figure_text(block) or block.heading and heading:format(block.heading) or list_text(block)
    parts[#parts + 1] = text ~= "" and text or nil
  end
  return table.concat(parts, "\n\n") .. "\n"
end

function documents.markdown(document)
  local parts = { "# " .. document.title }
  for _, text in ipairs(document.banner) do
    parts[#parts + 1] = "> **" .. text .. "**"
  end
  parts[#parts + 1] = tables.wrap(document.stamp, terminal_columns)
  local function figure_text(figure)
    return figures.markdown(figure, document.draws)
  end
  return join(parts, document.blocks, tables.markdown, figure_text, "## %s")
end

function documents.terminal(document)
  local parts = { document.title .. "\n" .. ("="):rep(utf8.len(document.title) or #document.title) }
  for _, text in ipairs(document.banner) do
    local line = ("*"):rep(terminal_columns)
    parts[#parts + 1] = line .. "\n" .. tables.wrap(text, terminal_columns) .. "\n" .. line
  end
  parts[#parts + 1] = tables.wrap(document.stamp, terminal_columns)
  local function figure_text(figure)
    return tables.wrap(figures.terminal(figure, document.draws), terminal_columns)
  end
  -- A record may be of anybody's making, and a terminal obeys control characters.
  return (join(parts, document.brief, tables.terminal, figure_text, "%s"):gsub("[\0-\8\11-\31\127]", "?"))
end

-- What the program draws beside the report.
function documents.figures(document, results)
  local list, seen = {}, {}
  for _, block in ipairs(document.blocks) do
    if figures.is(block) then
      if seen[block.name] then
        error(('two figures of the report are called "%s": give each a name of its own'):format(block.name), 0)
      end
      seen[block.name] = true
      list[#list + 1] = figures.description(block, results)
    end
  end
  return list
end

-- ---- CSV ---------------------------------------------------------------------------------------------------------

local csv_metrics = { "accuracy", "validation", "time", "time_per_epoch", "step", "energy", "memory", "resident" }

local function csv_field(value)
  local text = value == nil and "" or tostring(value)
  return text:find('[",\n]') and '"' .. text:gsub('"', '""') .. '"' or text
end

local function csv_number(value)
  return value and results_of.number_text(value, "%.10g") or nil
end

local function data_note(row)
  local cell = row.cells[1]
  if cell.planned_dataset ~= cell.config.dataset then
    return ("SYNTHETIC DATA: %s instead of %s"):format(cell.config.dataset, cell.planned_dataset)
  end
  local record = row:record()
  local data = record and record.dataset
  return data and (data.synthetic and "synthetic" or data.official and "official" or "not the official files") or ""
end

local function csv_row(results, model, row, name)
  local metric, files, seeds, cells = results_of.metric(name), {}, {}, row:cells_with(name)
  for i, cell in ipairs(cells) do
    files[i], seeds[i] = cell.file, cell.config.seed
  end
  local cell, paper = row.cells[1], row:paper_value(name)
  local fields = {
    results.name, model.profile, model.name, row.name, row.algorithm, cell.config.dataset, data_note(row), name, metric.unit,
    #files, csv_number(row:mean(name)) or "-", csv_number(row:spread(name)) or "", table.concat(seeds, " "),
    paper and paper.value or "", paper and paper.place or "", row:gap(name) or "", table.concat(files, " "),
    table.concat(results_of.doubts_of(cells), "; "),
  }
  for i = 1, #fields do
    fields[i] = csv_field(fields[i])
  end
  return table.concat(fields, ",")
end

function documents.csv(results)
  local lines = {
    "experiment,profile,model,row,algorithm,dataset,data,metric,unit,n,mean,spread,seeds,paper,place,gap,records,doubts",
  }
  for _, model in ipairs(results.models) do
    for _, row in ipairs(model.rows) do
      local seen = {}
      for _, list in ipairs { csv_metrics, table.move(row.asked, 1, #row.asked, 1, {}) } do -- writing a line asks, too
        for _, name in ipairs(list) do
          lines[#lines + 1] = not seen[name] and csv_row(results, model, row, name) or nil
          seen[name] = true
        end
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return documents
