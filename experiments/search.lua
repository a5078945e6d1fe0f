-- The search behind the MLP's entries in experiments/tuned.lua. `ffbench run experiments/search.lua`; its table is kept in
-- results/search/.
local networks = require "networks"
local rows = require "rows"
local search = require "lib.search"

local backpropagation = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 }

return search {
  name = "search",
  title = "Search of learning rates on the validation split",
  models = { mlp = networks.mlp() },
  searches = {
    { rows.bp_fp32, rates = backpropagation },
    { rows.bp_int8, rates = backpropagation },
    { rows.bp_ui8, rates = backpropagation },
    { rows.bp_gdai8, rates = backpropagation },
    { rows.ff_int8_tuned, rates = { 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 8e-4 } },
    { rows.ff_int8_paper, rates = { 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.8, 1.6 } },
    { rows.ff_int8_one_pass, rates = { 1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3 } },
  },
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    quick = { epochs = 10, seeds = { 1 }, skip_test = true },
    paper = { epochs = 30, seeds = { 1 }, skip_test = true },
  },
}
