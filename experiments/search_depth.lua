-- The search behind Table I's learning rate: one for all of its rows, so that they differ in nothing but depth and
-- arithmetic, chosen where training is hardest, with three hidden layers, at the table's own length.
-- `ffbench run experiments/search_depth.lua --profile paper`; its table is kept in results/search/.
local networks = require "networks"
local rows = require "rows"
local search = require "lib.search"

local rates = { 0.0125, 0.025, 0.05 }

return search {
  name = "search_depth",
  title = "Search of a learning rate for Table I, on the validation split",
  models = { networks.hidden(3) },
  searches = {
    { rows.bp_fp32, rates = rates },
    { rows.bp_int8, rates = rates },
  },
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    quick = { epochs = 20, seeds = { 1 }, skip_test = true },
    paper = { epochs = 100, seeds = { 1 }, skip_test = true },
  },
}
