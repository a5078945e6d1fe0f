-- The search behind the convolutional networks' entries in experiments/tuned.lua: four learning rates for each algorithm
-- on a part of CIFAR-10, judged on the validation split. `ffbench run experiments/search_convolutional.lua`; its table is
-- kept in results/search/.
local networks = require "networks"
local rows = require "rows"
local search = require "lib.search"

local backpropagation = { 0.003, 0.01, 0.03, 0.1 }

return search {
  name = "search_convolutional",
  title = "Search of learning rates for the convolutional networks, on the validation split",
  models = {
    mobilenet_v2 = networks.mobilenet_v2(),
    efficientnet_b0 = networks.efficientnet_b0(),
    resnet18 = networks.resnet18(),
  },
  searches = {
    { rows.bp_fp32, rates = backpropagation },
    { rows.bp_int8, rates = backpropagation },
    { rows.bp_ui8, rates = backpropagation },
    { rows.bp_gdai8, rates = backpropagation },
    { rows.ff_int8_tuned, rates = { 0.03, 0.1, 0.3, 1 },
      options = { goodness = "mean_squares", theta = 1, label = "pattern", pattern_amplitude = 1 } },
    { rows.ff_int8_paper, rates = { 1e-5, 1e-4, 1e-3, 1e-2 } },
    { rows.ff_int8_one_pass, rates = { 0.05, 0.1, 0.2, 0.4 },
      options = { optimiser = "sgd", momentum = 0, input_rounding = "nearest" } },
  },
  profiles = {
    smoke = { epochs = 1, train_limit = 320, eval_limit = 160, seeds = { 1 }, skip_test = true },
    quick = { epochs = 3, train_limit = 8000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    paper = { epochs = 10, seeds = { 1 }, skip_test = true },
  },
}
