-- A search of learning rates: the same number of candidates for each algorithm, judged on the validation split.
--   return search { name = ..., title = ..., models = ..., profiles = ..., searches = { { title =, row =, algorithm =,
--     options =, rates = {...} }, ... } }
-- makes an experiment of one row for each candidate, whose report names the best of each list.
local tables = require "lib.tables"

local function rows_of(searches, budget)
  local rows = {}
  for _, list in ipairs(searches) do
    assert(#list.rates == budget, "every algorithm has the same number of candidates")
    for i, rate in ipairs(list.rates) do
      local row = { list.algorithm, name = list.row .. "_" .. i, title = ("%s, %g"):format(list.title, rate),
        paper = false, learning_rate = rate }
      for name, value in pairs(list.options) do
        row[name] = value
      end
      rows[#rows + 1] = row
    end
  end
  return rows
end

local function best_of(found, list)
  local best
  for i, rate in ipairs(list.rates) do
    local row = found[list.row .. "_" .. i]
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
      local found = {}
      local chosen = tables.new { "Algorithm", "Learning rate", "Validation %" }
      for _, row in ipairs(model.rows) do
        found[row.name] = row
      end
      local all = tables.new { "Candidate", "Validation %" }
      for _, list in ipairs(searches) do
        chosen:add(list.title, best_texts(best_of(found, list)))
        for i in ipairs(list.rates) do
          local row = found[list.row .. "_" .. i]
          if row then
            all:add(row.title, row:text("validation"))
          end
        end
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
