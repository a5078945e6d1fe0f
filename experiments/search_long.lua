-- Which of the best learning rates of experiments/search.lua, its half and its quarter lasts as many epochs as Table V's
-- profile paper trains: some that win at ten epochs lose everything at twenty.
-- `ffbench run experiments/search_long.lua --profile paper`; its table is kept in results/search/.
local networks = require "networks"
local rows = require "rows"
local search = require "lib.search"

local backpropagation = { 0.0125, 0.025, 0.05 }

return search {
  name = "search_long",
  title = "Search of learning rates at full length, on the validation split",
  models = { mlp = networks.mlp() },
  searches = {
    { rows.bp_fp32, rates = { 0.025, 0.05, 0.1 } },
    { rows.bp_int8, rates = backpropagation },
    { rows.bp_ui8, rates = backpropagation },
    { rows.bp_gdai8, rates = backpropagation },
    { rows.ff_int8_tuned, rates = { 1e-4, 2e-4, 4e-4 } },
    { rows.ff_int8_paper, rates = { 0.2, 0.4, 0.8 } },
    { rows.ff_int8_one_pass, rates = { 2.5e-4, 5e-4, 1e-3 } },
  },
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    quick = { epochs = 20, seeds = { 1 }, skip_test = true },
    paper = { epochs = 100, seeds = { 1 }, skip_test = true, algorithms = { ff_int8 = { epochs = 130 } } },
  },
}
