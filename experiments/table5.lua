-- Table V: what each training algorithm reaches, and what it costs. docs/edit-an-experiment.md explains every key.
local costs = require "lib.costs"
local networks = require "networks"
local paper = require "paper"
local rows = require "rows"

-- The same word of a profile for each convolutional network, and one for the MLP where it has its own.
local function each_convolutional(options, mlp)
  return { mlp = mlp, mobilenet_v2 = options, efficientnet_b0 = options, resnet18 = options }
end

-- The accuracy that costs are compared at: the paper's of FF-INT8, where a profile trains long enough for it.
local to_reach = { mlp = { quick = paper.table5.mlp.ff_int8.accuracy.value } }
for model, printed in pairs(paper.table5) do
  to_reach[model] = to_reach[model] or {}
  to_reach[model].paper = printed.ff_int8.accuracy.value
end

-- All but BP-INT8, whose divergence would be a result.
local every_other_row = { "bp_fp32", "bp_ui8", "bp_gdai8", "ff_int8_tuned", "ff_int8_paper", "ff_int8_one_pass" }
local finishing = {
  { rows = every_other_row, finishes = true },
  { row = "bp_int8", finishes = true, may_diverge = true },
}

return experiment {
  name = "table5",
  title = "Table V: accuracy, time, energy and memory of each training algorithm",

  models = {
    mlp = networks.mlp(),
    mobilenet_v2 = networks.mobilenet_v2(),
    efficientnet_b0 = networks.efficientnet_b0(),
    resnet18 = networks.resnet18(),
  },

  algorithms = { -- a row of your own is one more line
    rows.bp_fp32, rows.bp_int8, rows.bp_ui8, rows.bp_gdai8,
    rows.ff_int8_tuned, rows.ff_int8_paper, rows.ff_int8_one_pass,
  },
  defaults = require "tuned", -- learning rates, found by search

  profiles = {
    smoke = { epochs = 3, train_limit = 4000, eval_limit = 2000, seeds = { 1 },
      models = each_convolutional { epochs = 1, train_limit = 640, eval_limit = 100 } },
    quick = { epochs = 10, seeds = { 1, 2, 3 },
      models = each_convolutional { epochs = 3, train_limit = 16000, eval_limit = 1000, seeds = { 1 } } },
    -- Epochs as far as the paper tells them: its text for the MLP, Figures 2 and 6b for ResNet-18, whose stand here for
    -- the other two networks.
    paper = { epochs = 100, seeds = { 1, 2, 3 }, algorithms = { ff_int8 = { epochs = 130 } },
      models = each_convolutional({ algorithms = { ff_int8 = { epochs = 500 } } }, { algorithms = require "tuned_long" }) },
    -- What two cores carry: results/reference.
    reference = { models = { mlp = "paper", mobilenet_v2 = "quick", efficientnet_b0 = "quick", resnet18 = "quick" } },
  },

  report = costs.report_to(to_reach, "the paper's of FF-INT8"),
  paper = paper.table5,
  claims = require "claims".table5,

  -- What `ffbench check` insists on.
  gates = {
    smoke = {
      finishing[1],
      finishing[2],
      { row = "bp_fp32", model = "mlp", metric = "accuracy", at_least = 80 },
      { row = "ff_int8_tuned", model = "mlp", metric = "accuracy", at_least = 30 },
      { row = "ff_int8_one_pass", model = "mlp", metric = "accuracy", at_least = 50 },
    },
    quick = {
      { row = "bp_fp32", dataset = "mnist", model = "mlp", metric = "accuracy", at_least = 98.0 },
      { row = "ff_int8_one_pass", dataset = "mnist", model = "mlp", metric = "accuracy", at_least = 98.0 },
      { claim = "table5.mlp.ff_int8.near_gdai8", row = "ff_int8_tuned" },
      finishing[1],
      finishing[2],
    },
    paper = finishing,
  },
}
