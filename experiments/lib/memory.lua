-- The report of experiments/memory.lua: what each mode holds where a training step's peak is, beside BP-GDAI8, and the
-- paper's totals.
--
--   report = memory.report_to("bp_gdai8")    the row that the others are held against

local paper = require "paper"
local statistics = require "lib.statistics"
local tables = require "lib.tables"

local memory = {}

local total = "memory.peak_bytes"
local buffers = { "activations", "gradients", "quantised", "workspace" }
local mebibyte = 2 ^ 20

local function right_aligned(first, titles)
  local columns = { { title = first, align = "left" } }
  for i, title in ipairs(titles) do
    columns[i + 1] = { title = title, align = "right" }
  end
  return columns
end

-- Bytes of all that does not stay from step to step, or nil.
local function buffer_bytes(row)
  local sum = 0
  for _, tag in ipairs(buffers) do
    local bytes = row:mean(total .. "_by_tag." .. tag)
    sum = sum and bytes and sum + bytes
  end
  return sum
end

-- A number with the way to its records, or "-" with the reason: of this row, or of the one that it is held against.
local function text_of(row, format, value, against)
  if value then
    return row:traced(format:format(value), total, against)
  end
  return against and row:mean(total) and against:text(total) or row:text(total)
end

local function share(part, whole)
  return part and whole and part / whole
end

-- One network's table. Of FF-INT8's rows, the totals' ratios go to `ratios`, by row and network.
local function network_table(results, model, base, ratios)
  local list = tables.new(right_aligned("Mode", { "Buffers MiB", "of GDAI8's", "Peak MiB", "of GDAI8's" }))
  local reference = results:row(base, model.name)
  local base_buffers, base_total = reference and buffer_bytes(reference), reference and reference:mean(total)
  for _, row in ipairs(model.rows) do
    local own, all = buffer_bytes(row), row:mean(total)
    local ratio = share(all, base_total)
    local text = text_of(row, "%.3f", ratio, reference)
    list:add(row.title .. (row.note and results:note(row.note) or ""), text_of(row, "%.2f", share(own, mebibyte)),
      text_of(row, "%.3f", share(own, base_buffers), reference), text_of(row, "%.2f", share(all, mebibyte)), text)
    if row.algorithm == "ff_int8" then
      ratios[row.name] = ratios[row.name] or {}
      ratios[row.name][model.name] = { value = ratio, text = text, rows = { row, reference } }
    end
  end
  return list
end

-- The mean of what is not missing anywhere.
local function add_line(list, title, models, entries)
  local texts, values, rows = { title }, {}, {}
  for _, model in ipairs(models) do
    local entry = entries[model.name] or { text = "-" }
    texts[#texts + 1] = entry.text
    values[#values + 1] = entry.value
    table.move(entry.rows or {}, 1, #(entry.rows or {}), #rows + 1, rows)
  end
  local mean = #values == #models and ("%.3f"):format(statistics.mean(values)) or "-"
  texts[#texts + 1] = rows[1] and rows[1]:traced(mean, total, table.unpack(rows, 2)) or mean
  list:add(table.unpack(texts))
end

local function paper_ratio(name)
  local ratio = paper.table5[name].ff_int8.memory.value / paper.table5[name].bp_gdai8.memory.value
  return { value = ratio, text = ("%.3f"):format(ratio) }
end

local function averages_table(results, ratios)
  local titles, printed, seen = {}, {}, {}
  for i, model in ipairs(results.models) do
    titles[i] = model.title
    printed[model.name] = paper_ratio(model.name)
  end
  titles[#titles + 1] = "Mean"
  local list = tables.new(right_aligned("Peak, of GDAI8's", titles))
  for _, model in ipairs(results.models) do
    for _, row in ipairs(model.rows) do
      if ratios[row.name] and not seen[row.name] then
        seen[row.name] = true
        add_line(list, row.title, results.models, ratios[row.name])
      end
    end
  end
  add_line(list, "paper", results.models, printed)
  return list
end

local function paper_average()
  local values = {}
  for i, name in ipairs { "mlp", "mobilenet_v2", "efficientnet_b0", "resnet18" } do
    values[i] = paper_ratio(name).value
  end
  return statistics.mean(values)
end

function memory.report_to(base)
  return function(results)
    local blocks, ratios = {}, {}
    for _, model in ipairs(results.models) do
      local list = network_table(results, model, base, ratios)
      table.move({ { heading = model.title }, list }, 1, 2, #blocks + 1, blocks)
    end
    blocks[#blocks + 1] = "Peak is what a training step holds at most, as planned: weights, the optimiser's state, the batch, "
      .. "and buffers, which are activations, INT8 copies, gradients and workspace."
    blocks[#blocks + 1] = { heading = "Beside the paper" }
    blocks[#blocks + 1] = averages_table(results, ratios)
    blocks[#blocks + 1] = ("With its MLP (%s) the paper's average is %.3f."):format(paper_ratio("mlp").text, paper_average())
    return blocks
  end
end

return memory
