-- A search of learning rates: the same number of candidates for each algorithm, judged on the validation split.
--   return search { name = ..., title = ..., models = ..., profiles = ...,
--     searches = { { row, rates = {...}, options = {...} }, ... } }
-- makes an experiment of one row for each candidate, whose report names the best of each list. row: as in an experiment's
-- algorithms; options: what it sets besides.
local tables = require "lib.tables"

local function name_of(list, i)
  return ("%s_%d"):format(list[1].name or list[1][1], i)
end

local function rows_of(searches, budget)
  local rows = {}
  for _, list in ipairs(searches) do
    assert(#list.rates == budget, "every algorithm has the same number of candidates")
    for i, rate in ipairs(list.rates) do
      local row = {}
      for _, options in ipairs { list[1], list.options or {} } do
        for name, value in pairs(options) do
          row[name] = value
        end
      end
      row.name, row.title, row.note = name_of(list, i), ("%s, %g"):format(list[1].title, rate), nil
      row.paper, row.learning_rate = false, rate
      rows[#rows + 1] = row
    end
  end
  return rows
end

local function best_of(results, model, list)
  local best
  for i, rate in ipairs(list.rates) do
    local row = results:row(name_of(list, i), model.name)
    local accuracy = row and row:mean("validation")
    if accuracy and (not best or accuracy > best.accuracy) then
      best = { row = row, rate = rate, accuracy = accuracy, edge = i == 1 or i == #list.rates }
    end
  end
  return best
end

local function best_texts(best)
  if not best then
    return "-", "-"
  end
  local rate = ("%g%s"):format(best.rate, best.edge and " (edge)" or "")
  return best.row:traced(rate, "validation"), best.row:traced(("%.2f"):format(best.accuracy), "validation")
end

local function report_of(searches, budget)
  return function(results)
    local blocks = {}
    for _, model in ipairs(results.models) do
      local chosen = tables.new { "Algorithm", "Learning rate", "Validation %" }
      local all = tables.new { "Candidate", "Validation %" }
      for _, list in ipairs(searches) do
        chosen:add(list[1].title, best_texts(best_of(results, model, list)))
      end
      for _, row in ipairs(model.rows) do
        all:add(row.title, row:text("validation"))
      end
      table.move({ { heading = "Chosen, " .. model.title }, chosen, { heading = "Every candidate, " .. model.title }, all },
        1, 4, #blocks + 1, blocks)
    end
    blocks[#blocks + 1] = ("%d learning rates for each algorithm, one seed; accuracy on the validation split after "
      .. "the last epoch. The test set was not read."):format(budget)
    return blocks
  end
end

return function(description)
  local budget = #description.searches[1].rates
  return experiment {
    name = description.name,
    title = description.title,
    models = description.models,
    algorithms = rows_of(description.searches, budget),
    profiles = description.profiles,
    report = report_of(description.searches, budget),
  }
end
