-- Numbers that are read off the epochs of a record: where its accuracy levels off, when it reaches a level, and what training
-- had cost by then. Accuracy is that on the test set where the run read it after every epoch (for a figure), else that on the
-- validation split.
local statistics = require "lib.statistics"

local curves = {}

local near_plateau = 1 -- point; with it the curves of Figure 6a give the epochs that the paper's text names

local function number(value)
  return type(value) == "number" and value or nil
end

local function accuracies(record)
  local list = {}
  for i, epoch in ipairs(record.epochs or {}) do
    list[i] = number(epoch.test_accuracy) or number(epoch.validation_accuracy) or -math.huge
  end
  return list
end

-- The first epoch whose accuracy is at least `level` percent; nil where none is.
local function first_at(record, level)
  for i, accuracy in ipairs(accuracies(record)) do
    if accuracy >= level then
      return i
    end
  end
  return nil
end

-- Where a list of values levels off: the mean of its last fifth.
local function last_fifth(values)
  return statistics.mean(table.move(values, #values - (#values + 4) // 5 + 1, #values, 1, {}))
end

-- The same of a curve of points {x, y}, such as the paper's; and the first x within a point of it.
function curves.plateau_of(points)
  local values = {}
  for i, point in ipairs(points) do
    values[i] = point[2]
  end
  local level = last_fifth(values)
  for i, value in ipairs(values) do
    if value >= level - near_plateau then
      return level, points[i][1]
    end
  end
  return level, nil
end

-- Fewer than ten epochs show no such thing.
local function plateau(record)
  local list = accuracies(record)
  return #list >= 10 and record.status ~= "diverged" and last_fifth(list) or nil
end

local function epochs_to_plateau(record)
  local level = plateau(record)
  return level and first_at(record, level - near_plateau)
end

-- The sum of a field over the epochs up to one of them; nil where an epoch lacks it.
local function sum_to(record, last, field)
  local sum = last and 0
  for i = 1, last or 0 do
    local value = number(record.epochs[i][field])
    sum = sum and value and sum + value
  end
  return sum
end

local function seconds_to(record, level)
  return sum_to(record, first_at(record, level), "seconds")
end

local function joules_to(record, level)
  return sum_to(record, first_at(record, level), "joules")
end

function curves.last(record)
  local list = accuracies(record)
  return list[#list] and list[#list] > -math.huge and list[#list] or nil
end

local function best(record)
  local list = accuracies(record)
  local highest = math.max(-math.huge, table.unpack(list))
  return highest > -math.huge and highest or nil
end

-- How much accuracy changes from one epoch to the next, in points, over the later half of them.
local function roughness(record)
  local list, sum = accuracies(record), 0
  local first = #list // 2 + 1
  for i = first, #list - 1 do
    sum = sum + math.abs(list[i + 1] - list[i])
  end
  return plateau(record) and sum / (#list - first) or nil
end

local function diverged_in(record)
  return record.status == "diverged" and number((record.diverged or {}).epoch) or nil
end

-- 100 where the run had diverged by that epoch, 0 where it had not; nil where it ended before.
local function diverged_by(record, last)
  local epoch = diverged_in(record)
  if epoch then
    return epoch <= last and 100 or 0
  end
  return record.epochs and #record.epochs >= last and 0 or nil
end

local function never_reached(level)
  return function(record)
    if first_at(record, level) then
      return nil
    end
    local highest = best(record)
    return highest and ("never reached %g %%: its best accuracy by epoch was %.2f %%"):format(level, highest)
      or "has no accuracy by epoch"
  end
end

local function no_plateau(record)
  return plateau(record) == nil and "fewer than ten epochs: too few to see where it levels off" or nil
end

local kinds = {
  epochs = { title = "epochs to %g %%", unit = "epochs", read = first_at },
  time = { title = "training time to %g %%", unit = "s", read = seconds_to, wants_own_machine = true },
  energy = { title = "energy to %g %%", unit = "J", read = joules_to, wants_own_machine = true },
}

local function accuracy_at(record, epoch)
  return number(accuracies(record)[epoch])
end

-- An infinite loss is a text in a record.
local function loss_at(record, epoch)
  local loss = record.epochs and record.epochs[epoch] and record.epochs[epoch].loss
  return loss == "inf" and math.huge or number(loss)
end

local function last_loss(record)
  local last = (record.epochs or {})[#(record.epochs or {})]
  return last and (last.loss == "nan" and 0 / 0 or loss_at(record, #record.epochs))
end

local function not_diverged()
  return "its loss stayed finite"
end

local function few_epochs(record)
  return ("trained for %d epochs only"):format(#(record.epochs or {}))
end

local named = {
  loss = { title = "training loss in the last epoch", unit = "", read = last_loss, wants_data = true },
  diverged_in = { title = "epoch that diverged", unit = "epochs", read = diverged_in, why = not_diverged, wants_data = true },
  best = { title = "best accuracy of an epoch", unit = "%", read = best, wants_data = true },
  plateau = { title = "where accuracy levels off", unit = "%", read = plateau, why = no_plateau, wants_data = true },
  roughness = { title = "change of accuracy between epochs", unit = "%", read = roughness, why = no_plateau,
    wants_data = true },
  epochs_to_plateau = { title = "epochs until accuracy levels off", unit = "epochs", read = epochs_to_plateau,
    why = no_plateau, wants_data = true },
}

local function with_number(read, value)
  return function(record)
    return read(record, value)
  end
end

local by_epoch = {
  accuracy_at = { title = "accuracy after epoch %d", unit = "%", read = accuracy_at, wants_data = true },
  loss_at = { title = "training loss in epoch %d", unit = "", read = loss_at, wants_data = true },
  diverged_by = { title = "runs that diverged by epoch %d", unit = "%", read = diverged_by, wants_data = true },
}

-- Metrics as in lib.results: best, plateau, roughness, epochs_to_plateau, loss, diverged_in; accuracy_at_8, loss_at_8,
-- diverged_by_8 (epochs; share of the runs); epochs_to_97.5, time_to_97.5, energy_to_97.5 (per cent). nil for any other name.
-- energy_reason(record): why it has no energy.
function curves.metric(name, energy_reason)
  local of_epoch, epoch = name:match("^(%l+_%l+)_(%d+)$")
  if named[name] or by_epoch[of_epoch] then
    local kind, last = by_epoch[of_epoch], math.tointeger(tonumber(epoch))
    return named[name] or { title = kind.title:format(last), unit = kind.unit, why = few_epochs,
      read = with_number(kind.read, last), wants_data = kind.wants_data }
  end
  local what, text = name:match("^(%l+)_to_([%d.]+)$")
  local kind, level = kinds[what], tonumber(text)
  if not kind or not level then
    return nil
  end
  local missed = never_reached(level)
  return {
    title = kind.title:format(level), unit = kind.unit, wants_data = true, wants_own_machine = kind.wants_own_machine,
    read = with_number(kind.read, level),
    why = function(record)
      return missed(record) or what == "energy" and energy_reason(record) or nil
    end,
  }
end

return curves
