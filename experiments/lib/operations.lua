-- Operations of one training step and of one predicted batch, as records have them: by formula, from the shapes of the
-- calls, and counted while they ran (docs/measurement.md). Loading this adds the metrics below to lib.results.
local results_of = require "lib.results"
local tables = require "lib.tables"

local operations = {}

-- ---- metrics -----------------------------------------------------------------------------------------------------

-- Programs of a whole batch, by what they do; a trainer has one of them.
local step, search, prediction = { "train", "train all units" }, { "train, search" }, { "predict" }

local function part(record, key, names)
  local found = type(record.operations) == "table" and record.operations[key]
  for _, name in ipairs(names or {}) do
    if type(found) == "table" and found[name] then
      return found[name]
    end
  end
  return not names and type(found) == "table" and found or nil
end

local function macs(count)
  return count.mac_f32 + count.mac_s8
end

local function elements(key)
  return function(count)
    return count[key]
  end
end

local function quantisation_share(count)
  return 100 * (count.compared_elements + count.added_elements) / macs(count)
end

local function forward_share(count)
  local backward = macs(count) - count.forward
  return backward > 0 and 100 * count.forward / backward or nil
end

-- key: train_step or predict_batch, counts by formula; or programs, those from shapes, and which of them.
local function expected(key, names, read)
  return function(record)
    local count = part(record, key, names)
    return count and read(count)
  end
end

local function of_formula(key)
  return expected(key, nil, macs)
end

local function of_shapes(names, read)
  return expected("programs", names, read)
end

-- Of one run; nil where runs differed.
local function of_running(names, read)
  return function(record)
    local count = part(record, "executed", names)
    return count and read(count) % count.runs == 0 and read(count) // count.runs or nil
  end
end

local function why_not(record)
  local reason = type(record.operations) == "table" and record.operations.executed_reason
  return type(reason) == "string" and reason or nil
end

-- Of a whole run.
local function macs_in_all(record)
  local count, steps = part(record, "programs", step), results_of.at_path(record, "time.steps")
  return count and type(steps) == "number" and macs(count) * steps or nil
end

local metrics = {
  { "macs_in_all", "multiply-accumulates of all steps, from shapes", macs_in_all },
  { "macs_formula", "multiply-accumulates of a step, by formula", of_formula "train_step" },
  { "macs", "multiply-accumulates of a step, from shapes", of_shapes(step, macs) },
  { "forward_share", "forward multiply-accumulates of backward ones, from shapes", of_shapes(step, forward_share), "%" },
  { "input_gradient", "of them input gradients, from shapes", of_shapes(step, elements "input_gradient") },
  { "macs_running", "multiply-accumulates of a step, counted while it ran", of_running(step, macs) },
  { "forward_running", "of them forward", of_running(step, elements "forward") },
  { "input_gradient_running", "of them input gradients", of_running(step, elements "input_gradient") },
  { "weight_gradient_running", "of them weight gradients", of_running(step, elements "weight_gradient") },
  { "predicting_formula", "multiply-accumulates of a predicted batch, by formula", of_formula "predict_batch" },
  { "predicting", "multiply-accumulates of a predicted batch, from shapes", of_shapes(prediction, macs) },
  { "predicting_running", "multiply-accumulates of a predicted batch, counted while it ran", of_running(prediction, macs) },
  { "rounded_running", "elements rounded to INT8, counted while a step ran", of_running(step, elements "quantised_elements") },
  { "compared", "elements compared in a step, from shapes", of_shapes(step, elements "compared_elements") },
  { "compared_running", "elements compared in a step, counted while it ran", of_running(step, elements "compared_elements") },
  { "added", "elements that a random number is added to, from shapes", of_shapes(step, elements "added_elements") },
  { "added_running", "elements that a random number is added to, counted while a step ran",
    of_running(step, elements "added_elements") },
  { "quantisation_share", "elements compared and added, of multiply-accumulates", of_shapes(step, quantisation_share), "%" },
}

for _, metric in ipairs(metrics) do
  results_of.metrics[metric[1]] = { title = metric[2], unit = metric[4] or "operations", read = metric[3], why = why_not,
    exact = true }
end

-- The paper's Table IV under the names of these metrics: paper.table4 -> {row = {metric = number}}.
function operations.paper(table4)
  local rows = {}
  for _, row in ipairs { "bp_fp32", "bp_gdai8", "ff_int8" } do
    local printed = table4[row]
    rows[row] = { macs = printed.multiply_s8 or printed.mac_multiply_f32, compared = printed.compare_f32,
      added = printed.add_f32 }
  end
  return rows
end

-- ---- tables ------------------------------------------------------------------------------------------------------

-- 22990000 as "22,990,000"
local function whole(number)
  local text = ("%d"):format(number):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

-- A count is the same for every seed, so the first record's stands for all.
local function shown(row, name)
  local gap = row:gap(name)
  local number = row:numbers(name)[1]
  return row:traced(number and whole(number) or "-", name) .. (gap and row.results:note(gap) or "")
end

local function printed(row, name)
  local value = row:paper_value(name)
  return value and whole(math.tointeger(value.value)) or "-"
end

-- A table over the rows of a network; columns are {title, metric} or {title, function of a row}.
local function table_of(model, title, columns)
  local heads = { title }
  for i, column in ipairs(columns) do
    heads[i + 1] = column[1]
  end
  local list = tables.new(heads)
  for _, row in ipairs(model.rows) do
    local texts = { row:label() }
    for i, column in ipairs(columns) do
      texts[i + 1] = type(column[2]) == "function" and column[2](row) or shown(row, column[2])
    end
    list:add(table.unpack(texts))
  end
  return list
end

local function paper_of(name)
  return function(row)
    return printed(row, name)
  end
end

local function operands(row)
  local record = row:record()
  local count = record and part(record, "programs", step)
  return count and (count.mac_s8 > 0 and "INT8" or "FP32") or "-"
end

-- Weights that a prediction goes through: forward-forward has a trained classifier only where one is read.
local function weights_of(row, record)
  return row.algorithm == "ff_int8" and record.model.parameters_without_head or record.model.parameters
end

local function passes(row)
  local record, number = row:record(), row:numbers("predicting")[1]
  local count = number and ("%g"):format(number / weights_of(row, record) / record.config.batch) or "-"
  return row:traced(count, "predicting")
end

local function share(row)
  return row:text("quantisation_share", "%.1f")
end

local step_columns = { { "Operands", operands }, { "Forward", "forward_running" },
  { "Input gradient", "input_gradient_running" }, { "Weight gradient", "weight_gradient_running" },
  { "Step, formula", "macs_formula" }, { "Shapes", "macs" }, { "Running", "macs_running" }, { "Paper", paper_of "macs" } }
local prediction_columns = { { "Formula", "predicting_formula" }, { "Shapes", "predicting" },
  { "Running", "predicting_running" }, { "Forward passes", passes } }
local quantisation_columns = { { "Rounded", "rounded_running" }, { "Compared, shapes", "compared" },
  { "Running", "compared_running" }, { "Paper", paper_of "compared" }, { "Added, shapes", "added" },
  { "Running", "added_running" }, { "Paper", paper_of "added" }, { "% of MACs", share } }

-- ---- what the numbers leave open -----------------------------------------------------------------------------------

local function search_text(row, record)
  local count = part(record, "executed", search)
  return count and count.searched_elements > 0 and ("%s looks for the gradients' ranges every %d steps; that step reads %s "
    .. "elements more, each of them in several passes."):format(row.title, record.config.options.search_period,
    whole(count.searched_elements // count.runs)) or nil
end

-- Forward-forward with a last layer that is trained like the others: a standard count of the whole network.
local function whole_network_text(row, record)
  local model, count = record.model, row:numbers("macs")[1]
  local function standard(weights)
    return 4 * weights * record.config.batch
  end
  if row.algorithm ~= "ff_int8" or count ~= standard(model.parameters_without_head) then
    return nil
  end
  return ("%s: forward and weight gradient, positives and negatives, are four products of %s weights; it has no trained "
    .. "classifier. With all %s weights trained so they would be %s."):format(row.title, whole(model.parameters_without_head),
    whole(model.parameters), whole(standard(model.parameters)))
end

local function padding_text(model)
  local padding = 0
  for _, row in ipairs(model.rows) do
    local record = row:record()
    local count = record and part(record, "programs", step)
    padding = padding + (count and count.padding or 0)
  end
  return padding == 0 and "Taps on padding: this network has none. Of a convolution, formula and shapes count them, as is "
    .. "usual, and the running count does not; the record has how many they are."
    or "Formula and shapes count taps on padding, as is usual; the running count does not: that is the whole difference."
end

local function texts(model)
  local list = { padding_text(model) }
  for _, row in ipairs(model.rows) do
    local record = row:record()
    if record then
      list[#list + 1] = search_text(row, record)
      list[#list + 1] = whole_network_text(row, record)
    end
  end
  return { list = list }
end

function operations.report(results)
  local blocks = { "One multiplication and one addition are one multiply-accumulate (MAC). Formula: the trainer's own; shapes: "
    .. "from the calls that a step is made of; running: counted inside the operators of the reference backend while they "
    .. "ran, and so are forward, input gradient, weight gradient and rounded. Compared: elements read in search of a "
    .. "tensor's range. Added: elements that stochastic rounding adds a random number to." }
  for _, model in ipairs(results.models) do
    local record = model.rows[1]:record()
    local title = model.title .. (record and (", one batch of %d"):format(record.config.batch) or "")
    for _, block in ipairs { { heading = title },
      table_of(model, "MACs of a training step", step_columns),
      table_of(model, "MACs of predicting the batch", prediction_columns),
      table_of(model, "Quantisation phase of a step", quantisation_columns), texts(model) } do
      blocks[#blocks + 1] = block
    end
  end
  return blocks
end

return operations
