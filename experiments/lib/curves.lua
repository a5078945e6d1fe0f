-- Numbers that are read off the epochs of a record: where its validation accuracy levels off, when it reaches a level, and
-- what training had cost by then.
local curves = {}

local function number(value)
  return type(value) == "number" and value or nil
end

local function accuracies(record)
  local list = {}
  for i, epoch in ipairs(record.epochs or {}) do
    list[i] = number(epoch.validation_accuracy) or -math.huge
  end
  return list
end

-- The first epoch whose validation accuracy is at least `level` percent; nil where none is.
function curves.first_at(record, level)
  for i, accuracy in ipairs(accuracies(record)) do
    if accuracy >= level then
      return i
    end
  end
  return nil
end

-- Where the curve levels off: the mean of its last fifth. Fewer than ten epochs show no such thing.
function curves.plateau(record)
  local list = accuracies(record)
  if #list < 10 or record.status == "diverged" then
    return nil
  end
  local count, sum = #list // 5, 0
  for i = #list - count + 1, #list do
    sum = sum + list[i]
  end
  return sum / count
end

local near_plateau = 1 -- point; with it the curves of Figure 6a give the epochs that the paper's text names

function curves.epochs_to_plateau(record)
  local level = curves.plateau(record)
  return level and curves.first_at(record, level - near_plateau)
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

function curves.seconds_to(record, level)
  return sum_to(record, curves.first_at(record, level), "seconds")
end

function curves.joules_to(record, level)
  return sum_to(record, curves.first_at(record, level), "joules")
end

function curves.best(record)
  local list = accuracies(record)
  return #list > 0 and math.max(table.unpack(list)) or nil
end

local function never_reached(level)
  return function(record)
    if curves.first_at(record, level) then
      return nil
    end
    local best = curves.best(record)
    return best and ("never reached %g %%: its best validation accuracy was %.2f %%"):format(level, best)
      or "has no validation accuracy"
  end
end

local function no_plateau(record)
  return curves.plateau(record) == nil and "fewer than ten epochs: too few to see where it levels off" or nil
end

local kinds = {
  epochs = { title = "epochs to %g %%", unit = "epochs", read = curves.first_at },
  time = { title = "training time to %g %%", unit = "s", read = curves.seconds_to, wants_own_machine = true },
  energy = { title = "energy to %g %%", unit = "J", read = curves.joules_to, wants_own_machine = true },
}

-- Metrics as in lib.results: plateau, epochs_to_plateau, and epochs_to_97.5, time_to_97.5, energy_to_97.5. nil for any other
-- name.
function curves.metric(name, energy_reason)
  if name == "plateau" then
    return { title = "where accuracy levels off", unit = "%", read = curves.plateau, why = no_plateau, wants_data = true }
  elseif name == "epochs_to_plateau" then
    return { title = "epochs until accuracy levels off", unit = "epochs", read = curves.epochs_to_plateau, why = no_plateau,
      wants_data = true }
  end
  local what, text = name:match("^(%l+)_to_([%d.]+)$")
  local kind, level = kinds[what], tonumber(text)
  if not kind or not level then
    return nil
  end
  local missed = never_reached(level)
  return {
    title = kind.title:format(level), unit = kind.unit, wants_data = true, wants_own_machine = kind.wants_own_machine,
    read = function(record)
      return kind.read(record, level)
    end,
    why = function(record)
      return missed(record) or what == "energy" and energy_reason(record) or nil
    end,
  }
end

return curves
