-- The report of Table V's kind: what each algorithm reaches and what it costs, ours beside the paper's.
local tables = require "lib.tables"

local costs = {}

local main = {
  { metric = "accuracy", title = "Accuracy %" },
  { metric = "time", title = "Time s" },
  { metric = "energy", title = "Energy J" },
  { metric = "memory", title = "Memory MB" },
}

local compared = {
  { metric = "time", title = "Time" },
  { metric = "energy", title = "Energy" },
  { metric = "memory", title = "Memory" },
}

-- Whether the paper has numbers for this network; without any, its columns are left out.
local function in_paper(model)
  for _, row in ipairs(model.rows) do
    if row:paper_value("accuracy") then
      return true
    end
  end
  return false
end

local function new_table(first, list, with_paper)
  local columns = { { title = first, align = "left" } }
  for _, column in ipairs(list) do
    columns[#columns + 1] = { title = column.title, align = "right" }
    columns[#columns + 1] = with_paper and { title = "paper", align = "right" } or nil
  end
  return tables.new(columns)
end

local function absolute_table(model, results)
  local with_paper = in_paper(model)
  local list = new_table("Algorithm", main, with_paper)
  for _, row in ipairs(model.rows) do
    local texts = { row.title .. (row.note and results:note(row.note) or "") }
    for _, column in ipairs(main) do
      texts[#texts + 1] = row:text(column.metric)
      texts[#texts + 1] = with_paper and row:paper_text(column.metric) or nil
    end
    list:add(table.unpack(texts))
  end
  return list
end

local function change_text(value, base)
  return value and base and base ~= 0 and ("%+.1f %%"):format(100 * (value / base - 1)) or "-"
end

local function paper_number(row, metric)
  local paper = row:paper_value(metric)
  return paper and paper.value
end

local function base_row(model)
  for _, row in ipairs(model.rows) do
    if row.paper == "bp_fp32" then
      return row
    end
  end
  return nil
end

local function relative_table(model, base)
  local with_paper = in_paper(model)
  local list = new_table("Against " .. base.title, compared, with_paper)
  for _, row in ipairs(model.rows) do
    if row ~= base then
      local texts = { row.title }
      for _, column in ipairs(compared) do
        local change = change_text(row:mean(column.metric), base:mean(column.metric))
        texts[#texts + 1] = row:traced(change, column.metric, base)
        texts[#texts + 1] = with_paper
          and change_text(paper_number(row, column.metric), paper_number(base, column.metric)) or nil
      end
      list:add(table.unpack(texts))
    end
  end
  return list
end

local function detail_table(model)
  local columns = { { title = "In detail", align = "left" } }
  for _, title in ipairs { "Seeds", "Epochs", "s per epoch", "ms per step", "J per epoch", "Resident MB" } do
    columns[#columns + 1] = { title = title, align = "right" }
  end
  local list = tables.new(columns)
  for _, row in ipairs(model.rows) do
    local energy, count = row:mean("energy"), #row:numbers("time_per_epoch")
    local record = row:record()
    local epochs = record and #(record.epochs or {}) or 0
    list:add(row.title, row:traced(count > 0 and tostring(count) or "-", "time_per_epoch"),
      row:traced(epochs > 0 and tostring(epochs) or "-", "time_per_epoch"),
      row:plain("time_per_epoch"), row:plain("step"),
      row:traced(energy and epochs > 0 and ("%.1f"):format(energy / epochs) or "-", "energy"),
      row:text("resident"))
  end
  return list
end

local tags = { "weights", "optimiser", "gradients", "activations", "quantised", "workspace", "dataset" }

-- What is alive at the fullest moment of a training step; the tags add up to the planned peak.
local function memory_table(model)
  local columns = { { title = "MB at the peak", align = "left" } }
  for _, tag in ipairs(tags) do
    columns[#columns + 1] = { title = tag:gsub("^%l", string.upper), align = "right" }
  end
  local list = tables.new(columns)
  for _, row in ipairs(model.rows) do
    local texts = { row.title }
    for _, tag in ipairs(tags) do
      local name = "memory.peak_bytes_by_tag." .. tag
      local bytes = row:mean(name)
      texts[#texts + 1] = row:traced(bytes and ("%.2f"):format(bytes / 1e6) or "-", name)
    end
    list:add(table.unpack(texts))
  end
  return list
end

-- A report function: for each model the numbers, their change against BP-FP32, and details.
function costs.report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    blocks[#blocks + 1] = { heading = model.title }
    blocks[#blocks + 1] = absolute_table(model, results)
    local base = base_row(model)
    if base and #model.rows > 1 then
      blocks[#blocks + 1] = relative_table(model, base)
    end
    blocks[#blocks + 1] = detail_table(model)
    blocks[#blocks + 1] = memory_table(model)
  end
  blocks[#blocks + 1] = "Accuracy on the test set, read once after the last epoch. Mean over seeds ± sample standard "
    .. "deviation. Time and energy cover training, evaluation left out. Memory is the planned peak of all buffers; resident "
    .. "memory is the whole process at its largest, libraries and dataset included."
  return blocks
end

return costs
