-- The search behind the MLP's entries in experiments/tuned.lua. `ffbench run experiments/search.lua`; its table is kept in
-- results/search/.
local networks = require "networks"
local search = require "lib.search"

local backpropagation = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 }

return search {
  name = "search",
  title = "Search of learning rates on the validation split",
  models = { mlp = networks.mlp() },
  searches = {
    { title = "BP-FP32", row = "bp_fp32", algorithm = "bp_fp32", options = {}, rates = backpropagation },
    { title = "BP-INT8", row = "bp_int8", algorithm = "bp_int8", options = {}, rates = backpropagation },
    { title = "BP-UI8", row = "bp_ui8", algorithm = "bp_ui8", options = {}, rates = backpropagation },
    { title = "BP-GDAI8", row = "bp_gdai8", algorithm = "bp_gdai8", options = {}, rates = backpropagation },
    { title = "FF-INT8 tuned", row = "ff_int8_tuned", algorithm = "ff_int8",
      options = { preset = "tuned", lookahead = "scalar" },
      rates = { 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 8e-4 } },
    { title = "FF-INT8 paper", row = "ff_int8_paper", algorithm = "ff_int8",
      options = { preset = "paper", lookahead = "scalar" },
      rates = { 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.8, 1.6 } },
    { title = "FF-INT8 one-pass", row = "ff_int8_one_pass", algorithm = "ff_int8", options = { preset = "one_pass" },
      rates = { 1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3 } },
  },
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    quick = { epochs = 10, seeds = { 1 }, skip_test = true },
    paper = { epochs = 30, seeds = { 1 }, skip_test = true },
  },
}
