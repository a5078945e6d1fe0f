-- How far each algorithm gets on the three convolutional networks, at equal epochs. The learning rates were searched on a
-- part of CIFAR-10 (experiments/search_convolutional.lua).
local accuracies = require "lib.accuracies"
local networks = require "networks"
local rows = require "rows"

return experiment {
  name = "cifar",
  title = "Accuracy of the convolutional networks",
  models = {
    mobilenet_v2 = networks.mobilenet_v2(),
    efficientnet_b0 = networks.efficientnet_b0(),
    resnet18 = networks.resnet18(),
  },
  algorithms = {
    rows.bp_fp32, rows.bp_int8, rows.bp_ui8, rows.bp_gdai8,
    rows.ff_int8_tuned, rows.ff_int8_paper, rows.ff_int8_one_pass,
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 1, train_limit = 320, eval_limit = 100, seeds = { 1 } },
    quick = { epochs = 5, train_limit = 16000, eval_limit = 2000, seeds = { 1 } },
    -- All of CIFAR-10, for as long as some hours on two cores carry: results/reference/.
    reference = { epochs = 5, seeds = { 1, 2, 3 }, models = { efficientnet_b0 = { epochs = 10 }, resnet18 = { epochs = 10 } } },
    paper = { epochs = 30, seeds = { 1, 2, 3 } },
  },
  report = accuracies,
  gates = {
    smoke = {
      { rows = { "bp_fp32", "bp_ui8", "bp_gdai8" }, finishes = true },
      { row = "bp_int8", finishes = true, may_diverge = true },
    },
  },
}
