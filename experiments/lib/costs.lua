-- The report of Table V's kind: what each algorithm reaches and what it costs, ours beside the paper's.
local curves = require "lib.curves"
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
  local columns = { first }
  for _, column in ipairs(list) do
    columns[#columns + 1] = column.title
    columns[#columns + 1] = with_paper and "paper" or nil
  end
  return tables.new(columns)
end

local function absolute_table(model)
  local with_paper = in_paper(model)
  local list = new_table("Algorithm", main, with_paper)
  for _, row in ipairs(model.rows) do
    local texts = { row:label() }
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

-- ---- to an accuracy ----------------------------------------------------------------------------------------------

-- Per cent: twice what guessing scores on ten classes. A run that ends below has learnt nothing to compare costs at.
local learnt = 20

-- The lowest accuracy that a run of this network ended with, in whole per cent, so that every run that learnt gets there; runs
-- that diverged do not count.
local function common_level(model)
  local lowest
  for _, row in ipairs(model.rows) do
    for _, cell in ipairs(row.cells) do
      local last = cell.record and cell.record.status == "done" and curves.last(cell.record)
      lowest = last and last >= learnt and math.min(lowest or last, last) or lowest
    end
  end
  return lowest and lowest // 1
end

-- The level that is given for a network in this profile, or nil.
local function given_level(model, levels)
  return (levels[model.name] or levels[model.model] or {})[model.profile]
end

local function level_of(model, levels)
  return given_level(model, levels) or common_level(model)
end

-- What an epoch, the whole run, and training up to an accuracy take.
local function effort_table(model, level)
  local columns, metrics = { "Cost" }, {}
  local function add(title, metric)
    columns[#columns + 1] = title
    metrics[#metrics + 1] = metric
  end
  for _, cost in ipairs { { "s", "time" }, { "J", "energy" } } do
    add(cost[1] .. " per epoch", cost[2] .. "_per_epoch")
    add(cost[1] .. " in all", cost[2])
    if level then
      add(("%s to %g %%"):format(cost[1], level), ("%s_to_%g"):format(cost[2], level))
    end
  end
  if level then
    add("In epochs", ("epochs_to_%g"):format(level))
  end
  local list = tables.new(columns)
  for _, row in ipairs(model.rows) do
    local texts = { row.title }
    for i, metric in ipairs(metrics) do
      texts[i + 1] = row:text(metric, metric:find("^epochs") and "%.1f" or nil)
    end
    list:add(table.unpack(texts))
  end
  return list
end

local function levels_text(results, levels, origin)
  local given, found = {}, {}
  for _, model in ipairs(results.models) do
    local level = level_of(model, levels)
    if level then
      table.insert(given_level(model, levels) and given or found, ("%s %g %%"):format(model.title, level))
    end
  end
  local text = ""
  if #given > 0 then
    text = (" The accuracy to reach is %s: %s."):format(origin, table.concat(given, ", "))
  end
  if #found > 0 then
    text = text .. (" The accuracy to reach is the lowest that a run ended with, rounded down, runs below %d %% left out: %s.")
      :format(learnt, table.concat(found, ", "))
  end
  return "Cost to an accuracy is that of training up to the end of the first epoch that had it on the validation split; the "
    .. "last column says which epoch that was." .. text
end

-- ---- in detail ---------------------------------------------------------------------------------------------------

-- The last two stand where a record knows them.
local details = { { "ms per step", "step" }, { "Resident MB", "resident" }, { "Control group MB", "cgroup", true },
  { "Device MB", "device", true } }

local function known(results, metric)
  for _, row in ipairs(results:all_rows()) do
    if #row:cells_with(metric) > 0 then
      return true
    end
  end
  return false
end

local function detail_table(results, model)
  local columns, metrics = { "In detail", "Seeds", "Epochs" }, {}
  for _, detail in ipairs(details) do
    if not detail[3] or known(results, detail[2]) then
      columns[#columns + 1], metrics[#metrics + 1] = detail[1], detail[2]
    end
  end
  local list = tables.new(columns)
  for _, row in ipairs(model.rows) do
    local texts = { row.title, row:seeds_text("time_per_epoch"), row:plain("epochs", "%.4g") }
    for _, metric in ipairs(metrics) do
      texts[#texts + 1] = row:text(metric)
    end
    list:add(table.unpack(texts))
  end
  return list
end

-- What each of the memories is.
local function memory_text(results)
  local cgroup, device = known(results, "cgroup"), known(results, "device")
  local text = "Memory is the planned peak of all buffers; resident memory is the whole process at its largest, libraries and "
    .. "dataset included."
  if not cgroup and not device then
    return text .. " What other programs hold, or a GPU, is in neither: records have the peak of the control group and of "
      .. "the device."
  end
  return text
    .. (cgroup and " That of the control group is the most that all its processes used since it was made, files that the "
      .. "kernel keeps included." or "")
    .. (device and " That of the device is the most in use on the GPU meanwhile, by all programs." or "")
end

local tags = { "weights", "optimiser", "gradients", "activations", "quantised", "workspace", "dataset" }

-- What is alive at the fullest moment of a training step; the tags add up to the planned peak.
local function memory_table(model)
  local columns = { "MB at the peak" }
  for _, tag in ipairs(tags) do
    columns[#columns + 1] = tag:gsub("^%l", string.upper)
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

local function report(results, levels, origin)
  local blocks = {}
  for _, model in ipairs(results.models) do
    blocks[#blocks + 1] = { heading = model.title }
    blocks[#blocks + 1] = absolute_table(model)
    local base = base_row(model)
    if base and #model.rows > 1 then
      blocks[#blocks + 1] = relative_table(model, base)
    end
    blocks[#blocks + 1] = effort_table(model, level_of(model, levels))
    blocks[#blocks + 1] = detail_table(results, model)
    blocks[#blocks + 1] = memory_table(model)
  end
  blocks[#blocks + 1] = "Accuracy on the test set, read once after the last epoch. Mean over seeds ± sample standard "
    .. "deviation. Time and energy cover training, evaluation left out. " .. memory_text(results)
  blocks[#blocks + 1] = levels_text(results, levels, origin)
  return blocks
end

-- A report function: for each model the numbers, their change against BP-FP32, the cost up to an accuracy, and details.
function costs.report(results)
  return report(results, {})
end

-- The same with accuracies to reach, {model = {profile = per cent}}, and where they come from.
function costs.report_to(levels, origin)
  return function(results)
    return report(results, levels, origin)
  end
end

return costs
