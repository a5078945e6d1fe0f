-- How far each algorithm gets on the three convolutional networks, at equal epochs. The learning rates were searched on a
-- part of CIFAR-10 (experiments/search_convolutional.lua).
local networks = require "networks"
local tables = require "lib.tables"

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local list = tables.new { "Algorithm", "Epochs", "Seeds", "Test %", "Validation %", "Time s" }
    for _, row in ipairs(model.rows) do
      list:add(row.title .. (row.note and results:note(row.note) or ""), row:plain("epochs", "%.4g"),
        row:seeds_text("accuracy"), row:text("accuracy"), row:text("validation"), row:text("time"))
    end
    table.move({ { heading = model.title }, list }, 1, 2, #blocks + 1, blocks)
  end
  blocks[#blocks + 1] = "Accuracy on the test set, read once after the last epoch; mean over seeds ± sample standard deviation."
  return blocks
end

return experiment {
  name = "cifar",
  title = "Accuracy of the convolutional networks",
  models = {
    mobilenet_v2 = networks.mobilenet_v2(),
    efficientnet_b0 = networks.efficientnet_b0(),
    resnet18 = networks.resnet18(),
  },
  algorithms = {
    { "bp_fp32", title = "BP-FP32" },
    { "bp_int8", title = "BP-INT8" },
    { "bp_ui8", title = "BP-UI8" },
    { "bp_gdai8", title = "BP-GDAI8" },
    { "ff_int8", name = "ff_int8_tuned", title = "FF-INT8 tuned", preset = "tuned", lookahead = "scalar" },
    { "ff_int8", name = "ff_int8_paper", title = "FF-INT8 paper", preset = "paper", lookahead = "scalar" },
    { "ff_int8", name = "ff_int8_one_pass", title = "FF-INT8 one-pass", preset = "one_pass", paper = false,
      note = "an extension of ours, not in the paper: channels in one group per class, no negative pass" },
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 1, train_limit = 320, eval_limit = 100, seeds = { 1 } },
    quick = { epochs = 5, train_limit = 16000, eval_limit = 2000, seeds = { 1 } },
    -- What an hour on two cores carries, all of CIFAR-10: results/reference/.
    reference = { epochs = 5, seeds = { 1 }, models = { resnet18 = { epochs = 10 } } },
    paper = { epochs = 30, seeds = { 1, 2, 3 } },
  },
  report = report,
  gates = {
    smoke = {
      { rows = { "bp_fp32", "bp_ui8", "bp_gdai8" }, finishes = true },
      { row = "bp_int8", finishes = true, may_diverge = true },
    },
  },
}
