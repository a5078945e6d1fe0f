-- What one experiment gives to the page of all: {name, title, file, command, banner, stamp, blocks, verdicts, records}.
-- A block is {html =} or {figure =, title =, caption =}; the program puts the pictures in (harness/page.h).
local figures = require "lib.figures"
local html = require "lib.html"
local results_of = require "lib.results"

local sections = {}

local at = results_of.at_path

local function sorted_texts(values)
  local parts = {}
  for key, value in pairs(type(values) == "table" and values or {}) do
    parts[#parts + 1] = ("%s: %s"):format(tostring(key):gsub("_", " "), tostring(value))
  end
  return table.concat(parts, "; ")
end

local function machine_of(record)
  local memory = at(record, "provenance.machine.memory_bytes")
  return {
    { "Processor", at(record, "provenance.machine.processor") },
    { "Processors", at(record, "provenance.machine.processors") },
    { "Instructions", at(record, "provenance.machine.instructions") },
    { "Memory", type(memory) == "number" and ("%.1f GiB"):format(memory / 2 ^ 30) or nil },
    { "System", at(record, "provenance.machine.system") },
    { "Kernel", at(record, "provenance.machine.kernel") },
    { "GPU", type(record.provenance.gpu) == "table" and sorted_texts(record.provenance.gpu) or record.provenance.gpu },
    { "Threads", at(record, "provenance.threads") },
    { "Backend", sorted_texts(at(record, "provenance.backend")) },
    { "Compiler", at(record, "provenance.compiler") },
    { "Compiler flags", at(record, "provenance.flags") },
  }
end

local function known_texts(pairs_of)
  local list = {}
  for _, pair in ipairs(pairs_of) do
    if pair[2] ~= nil and pair[2] ~= "" then
      list[#list + 1] = { pair[1], tostring(pair[2]) }
    end
  end
  return list
end

local function record_entry(cell, model, row)
  local record = cell.record
  record.provenance = record.provenance or {}
  local data, energy = record.dataset or {}, at(record, "energy.source")
  return {
    file = cell.file, run = figures.run_id(cell.file), row = row.title, network = model.title or model.name,
    seed = tostring(cell.config.seed), status = tostring(record.status or "-"), dataset = tostring(data.name or "-"),
    kind = results_of.data_kind(data), doubts = results_of.doubts_of { cell },
    sha256 = tostring(data.sha256 or "-"), commit = tostring(at(record, "provenance.commit") or "-"),
    dirty = at(record, "provenance.dirty") == true, finished = tostring(at(record, "provenance.finished") or "-"),
    command = tostring(record.command or "-"), processor = tostring(at(record, "provenance.machine.processor") or "-"),
    shared = at(record, "provenance.own_machine") == false, energy = energy and tostring(energy) or nil,
    machine = known_texts(machine_of(record)),
  }
end

-- Row by row, so that what makes up one number stands together.
local function records(results)
  local list = {}
  for _, model in ipairs(results.models) do
    for _, row in ipairs(model.rows) do
      for _, cell in ipairs(row.cells) do
        if cell.record then
          list[#list + 1] = record_entry(cell, model, row)
        end
      end
    end
  end
  return list
end

-- ---- verdicts ----------------------------------------------------------------------------------------------------

function sections.files_of(rows)
  local files, seen = {}, {}
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do
      if cell.record and not seen[cell.file] then
        seen[cell.file] = true
        files[#files + 1] = cell.file
      end
    end
  end
  return files
end

local function doubts_of(rows)
  local cells = {}
  for _, row in ipairs(rows) do
    table.move(row.cells, 1, #row.cells, #cells + 1, cells)
  end
  return results_of.doubts_of(cells)
end

local function verdict_entries(entries)
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = { id = entry.claim.id, headline = entry.claim.headline, text = entry.text, place = entry.claim.place,
      network = entry.network, expected = entry.expected, measured = entry.measured, verdict = entry.verdict,
      reason = entry.reason, needs = entry.needs, doubts = entry.measured ~= "-" and doubts_of(entry.rows) or {},
      files = entry.measured ~= "-" and sections.files_of(entry.rows) or {} }
  end
  return list
end

-- ---- the section -------------------------------------------------------------------------------------------------

local function block_of(block, results, title)
  if figures.is(block) then
    return { figure = block.name, title = block.title, caption = block.caption or "" }
  end
  return { html = html.block(block, results.traces, title) }
end

-- document: the report without its verdicts, made of results that trace their numbers.
function sections.new(document, results, plan, entries, file)
  local blocks, planned = {}, 0
  for i, block in ipairs(document.blocks) do
    blocks[i] = block_of(block, results, plan.title)
  end
  for _, cell in ipairs(plan.cells) do
    planned = planned + (cell.selected and 1 or 0)
  end
  return {
    name = plan.name, title = plan.title, file = file, profiles = results:profiles(), changes = plan.changes,
    banner = document.banner, stamp = document.stamp, blocks = blocks, verdicts = verdict_entries(entries),
    records = records(results), planned = planned,
  }
end

return sections
