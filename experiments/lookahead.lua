-- FF-INT8 on a convolutional network under each reading of the look-ahead loss and each way for an image to carry its
-- label: what the paper leaves open (docs/convolutional.md). Everything else is as the search chose it.
local networks = require "networks"
local tables = require "lib.tables"
local tuned = require("tuned").resnet18

local rows, readings, looks_ahead = {}, {}, {}

local function add(name, chosen, reading, options)
  local row = { "ff_int8", name = "ff_int8_" .. name, title = table.concat(reading, ", "), paper = false }
  for _, set in ipairs { chosen, options } do
    for option, value in pairs(set) do
      row[option] = value
    end
  end
  rows[#rows + 1], readings[row.name] = row, reading
  looks_ahead[row.name] = row.lookahead and row.lookahead ~= "off" or nil
end

local function add_reading(unit, label, lookahead, name)
  add(("%s_%s_%s"):format(unit, label, lookahead), tuned.ff_int8_tuned, { unit, label, name or lookahead },
    { preset = "tuned", unit = unit, label = label, lookahead = lookahead })
end

for _, label in ipairs { "overlay", "plane", "pattern" } do
  add_reading("block", label, "off")
  add_reading("block", label, "scalar", "scalar, block")
  add_reading("block", label, "chain")
end
for _, label in ipairs { "overlay", "plane", "pattern" } do
  for _, lookahead in ipairs { "off", "scalar", "block", "chain" } do
    add_reading("layer", label, lookahead)
  end
end
for _, unit in ipairs { "block", "layer" } do
  add("one_pass_" .. unit, tuned.ff_int8_one_pass, { unit, "none", "one-pass" }, { preset = "one_pass", unit = unit })
end

-- lambda grows by so much in each epoch, in the rows that look ahead.
local function with_lambda_step(step, profile)
  profile.algorithms = {}
  for name in pairs(looks_ahead) do
    profile.algorithms[name] = { lambda_step = step }
  end
  return profile
end

-- It is 0 in the first epoch.
local function last_lambda(row)
  local record = row:record()
  local lambda = record and looks_ahead[row.name] and (#record.epochs - 1) * record.config.options.lambda_step
  return lambda and row:traced(("%g"):format(lambda), "epochs") or "-"
end

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local list = tables.new { "Unit", { title = "Label", align = "left" }, { title = "Look-ahead", align = "left" },
      "Test %", "Validation %", "Epochs", "Last lambda", "Time s", "Memory MB" }
    for _, row in ipairs(model.rows) do
      local unit, label, lookahead = table.unpack(readings[row.name])
      list:add(unit, label, lookahead, row:text("accuracy"), row:text("validation"), row:plain("epochs", "%.4g"),
        last_lambda(row),
        row:text("time"), row:text("memory"))
    end
    table.move({ { heading = model.title }, list }, 1, 2, #blocks + 1, blocks)
  end
  blocks[#blocks + 1] = "Rows of the same unit and label differ in look-ahead only. With a block as the unit, scalar and "
    .. "block are the same training: one row stands for both. The learning rate is what the search chose for a block, "
    .. "pattern and scalar."
  blocks[#blocks + 1] = "Lambda grows from 0 by lambda_step each epoch. In a few epochs of the paper's 0.001 it stays so "
    .. "small that all readings are one training; profile quick takes 0.2, so that its five epochs pass through what the "
    .. "paper's 1,000 for this network (Figure 6b) pass through, 200 in each. It shows which way a reading goes, not "
    .. "where it ends."
  return blocks
end

return experiment {
  name = "lookahead",
  title = "FF-INT8: readings of the look-ahead loss and label routes",
  models = { resnet18 = networks.resnet18() },
  algorithms = rows,
  profiles = {
    smoke = with_lambda_step(0.5, { epochs = 2, train_limit = 320, eval_limit = 100, seeds = { 1 } }),
    quick = with_lambda_step(0.2, { epochs = 5, train_limit = 12000, eval_limit = 2000, seeds = { 1 } }),
    paper = { epochs = 100, seeds = { 1, 2, 3 } },
    reference = "quick",
  },
  report = report,
}
