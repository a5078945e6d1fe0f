-- The search behind experiments/tuned.lua: the same number of tries for each algorithm, judged on the validation split.
-- The test set is not read. `ffbench run experiments/search.lua`; its table is kept in results/search/.
local tables = require "lib.tables"

local budget = 8

-- One list of candidates for each algorithm: a row each.
local searches = {
  { title = "BP-FP32", row = "bp_fp32", algorithm = "bp_fp32", options = {},
    rates = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 } },
  { title = "BP-INT8", row = "bp_int8", algorithm = "bp_int8", options = {},
    rates = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 } },
  { title = "BP-UI8", row = "bp_ui8", algorithm = "bp_ui8", options = {},
    rates = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 } },
  { title = "BP-GDAI8", row = "bp_gdai8", algorithm = "bp_gdai8", options = {},
    rates = { 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6 } },
  { title = "FF-INT8 tuned", row = "ff_int8_tuned", algorithm = "ff_int8",
    options = { preset = "tuned", lookahead = "scalar" },
    rates = { 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 8e-4 } },
  { title = "FF-INT8 paper", row = "ff_int8_paper", algorithm = "ff_int8",
    options = { preset = "paper", lookahead = "scalar" },
    rates = { 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.8, 1.6 } },
  { title = "FF-INT8 one-pass", row = "ff_int8_one_pass", algorithm = "ff_int8", options = { preset = "one_pass" },
    rates = { 1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3 } },
}

local rows = {}
for _, search in ipairs(searches) do
  assert(#search.rates == budget, "every algorithm has the same number of tries")
  for i, rate in ipairs(search.rates) do
    local row = { search.algorithm, name = search.row .. "_" .. i, title = ("%s, %g"):format(search.title, rate),
      paper = false, learning_rate = rate }
    for name, value in pairs(search.options) do
      row[name] = value
    end
    rows[#rows + 1] = row
  end
end

local function best_of(found, search)
  local best
  for i, rate in ipairs(search.rates) do
    local accuracy = found[search.row .. "_" .. i]:mean("validation")
    if accuracy and (not best or accuracy > best.accuracy) then
      best = { rate = rate, accuracy = accuracy, edge = i == 1 or i == budget }
    end
  end
  return best
end

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local found = {}
    local chosen = tables.new { { title = "Algorithm", align = "left" }, { title = "Learning rate", align = "right" },
      { title = "Validation %", align = "right" } }
    for _, row in ipairs(model.rows) do
      found[row.name] = row
    end
    local all = tables.new { { title = "Candidate", align = "left" }, { title = "Validation %", align = "right" } }
    for _, search in ipairs(searches) do
      local best = best_of(found, search)
      chosen:add(search.title, best and ("%g%s"):format(best.rate, best.edge and " (edge)" or "") or "-",
        best and ("%.2f"):format(best.accuracy) or "-")
      for i in ipairs(search.rates) do
        local row = found[search.row .. "_" .. i]
        all:add(row.title, row:text("validation"))
      end
    end
    table.move({ { heading = "Chosen, " .. model.title }, chosen, { heading = "Every candidate" }, all },
      1, 4, #blocks + 1, blocks)
  end
  blocks[#blocks + 1] = ("%d learning rates for each algorithm, one seed; accuracy on the validation split after "
    .. "the last epoch. The test set was not read."):format(budget)
  return blocks
end

return experiment {
  name = "search",
  title = "Search of learning rates on the validation split",
  models = { mlp = { dataset = "mnist", title = "MLP 784-1000-1000-10", batch = 32 } },
  algorithms = rows,
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, skip_test = true },
    quick = { epochs = 10, seeds = { 1 }, skip_test = true },
    paper = { epochs = 30, seeds = { 1 }, skip_test = true },
  },
  report = report,
}
