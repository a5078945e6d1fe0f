-- FF-INT8 on a convolutional network: each reading of the look-ahead loss with each way to label an image. What the paper
-- leaves open, docs/convolutional.md.
local networks = require "networks"
local tables = require "lib.tables"

local routes = { { "overlay", "first ten pixels" }, { "plane", "a plane of its own" }, { "pattern", "waves over the image" } }
local readings = { { "off", "off" }, { "scalar", "scalar" }, { "block", "block" }, { "chain", "chain" } }

local rows = {}
for _, route in ipairs(routes) do
  for _, reading in ipairs(readings) do
    rows[#rows + 1] = { "ff_int8", name = "ff_int8_" .. route[1] .. "_" .. reading[1],
      title = ("look-ahead %s, label: %s"):format(reading[2], route[2]), preset = "tuned", paper = false,
      goodness = "mean_squares", theta = 1, pattern_amplitude = 1, lookahead = reading[1],
      learning_rate = 0.3, label = route[1], unit = reading[1] == "block" and "layer" or "block" }
  end
end
for _, unit in ipairs { "block", "layer" } do
  rows[#rows + 1] = { "ff_int8", name = "ff_int8_one_pass_" .. unit, title = "one-pass, a unit is a " .. unit,
    preset = "one_pass", optimiser = "sgd", momentum = 0, input_rounding = "nearest", learning_rate = 0.2, unit = unit,
    paper = false }
end

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local list = tables.new { "Reading", "Test %", "Validation %", "Epochs", "Time s", "Memory MB" }
    for _, row in ipairs(model.rows) do
      list:add(row.title, row:text("accuracy"), row:text("validation"), row:plain("epochs", "%.4g"),
        row:text("time"), row:text("memory"))
    end
    table.move({ { heading = model.title }, list }, 1, 2, #blocks + 1, blocks)
  end
  blocks[#blocks + 1] = "Block differs from scalar only where a unit is one layer, so it is trained so."
  return blocks
end

return experiment {
  name = "lookahead",
  title = "FF-INT8: readings of the look-ahead loss and label routes",
  models = { resnet18 = networks.resnet18() },
  algorithms = rows,
  profiles = {
    smoke = { epochs = 1, train_limit = 320, eval_limit = 100, seeds = { 1 } },
    quick = { epochs = 5, train_limit = 16000, eval_limit = 2000, seeds = { 1 } },
    paper = { epochs = 100, seeds = { 1, 2, 3 } },
  },
  report = report,
}
