-- How far each algorithm gets on the MLP: backpropagation and one-pass in 10 epochs, forward-forward in 30.
-- Runs that Table V has made already are read from their records. The learning rates were searched at 10 epochs.
local networks = require "networks"
local tables = require "lib.tables"

local function report(results)
  local model = results.models[1]
  local list = tables.new { "Algorithm", "Epochs", "Seeds", "Test %", "Validation %", "Time s" }
  for _, row in ipairs(model.rows) do
    list:add(row.title .. (row.note and results:note(row.note) or ""), row:plain("epochs", "%.4g"),
      row:seeds_text("accuracy"), row:text("accuracy"), row:text("validation"), row:text("time"))
  end
  return { { heading = model.title }, list,
    "Accuracy on the test set, read once after the last epoch; mean over seeds ± sample standard deviation." }
end

return experiment {
  name = "mlp",
  title = "Accuracy of the MLP",
  models = { mlp = networks.mlp() },
  algorithms = {
    { "bp_fp32", title = "BP-FP32" },
    { "bp_int8", title = "BP-INT8" },
    { "bp_ui8", title = "BP-UI8" },
    { "bp_gdai8", title = "BP-GDAI8" },
    { "ff_int8", name = "ff_int8_tuned", title = "FF-INT8 tuned", preset = "tuned", lookahead = "scalar", epochs = 30 },
    { "ff_int8", name = "ff_int8_paper", title = "FF-INT8 paper", preset = "paper", lookahead = "scalar", epochs = 30 },
    { "ff_int8", name = "ff_int8_one_pass", title = "FF-INT8 one-pass", preset = "one_pass", paper = false,
      note = "an extension of ours, not in the paper: neurons in one group per class, no negative pass" },
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, algorithms = { ff_int8 = { epochs = 2 } } },
    quick = { epochs = 10, seeds = { 1, 2, 3 } },
    paper = { epochs = 10, seeds = { 1, 2, 3 } },
  },
  report = report,
  gates = {
    quick = {
      { row = "bp_fp32", dataset = "mnist", metric = "accuracy", at_least = 98.0 },
      { rows = { "bp_ui8", "bp_gdai8" }, dataset = "mnist", metric = "accuracy", at_least = 97.7 },
      { row = "ff_int8_tuned", dataset = "mnist", metric = "accuracy", at_least = 97.5 },
      { row = "ff_int8_one_pass", dataset = "mnist", metric = "accuracy", at_least = 98.3 },
    },
  },
}
