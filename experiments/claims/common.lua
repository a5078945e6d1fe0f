-- What the lists of claims share.
local common = {}

-- The same for every profile: what depends neither on the epochs nor on how much was trained.
function common.everywhere(value)
  return { smoke = value, quick = value, paper = value }
end

-- How far off an accuracy may be, in points, where the network is trained long enough to judge what it learns: ten epochs do
-- for an MLP, a few epochs on a part of CIFAR-10 do not for the others.
common.mlp_points = { quick = 2.0, paper = 1.0 }
common.network_points = { paper = 1.0 }
common.mlp_profiles = { "quick", "paper" }
common.network_profiles = { "paper" }

-- Read off a printed plot, to about a point.
common.plot_points = { paper = 3.0 }

-- Enough steps to compare what algorithms cost.
common.cost_profiles = { "quick", "paper" }

-- A text with numbers of the paper in it, each a number or {value =}; without their signs.
function common.text(format, ...)
  local values = {}
  for i, number in ipairs { ... } do
    values[i] = math.abs(type(number) == "table" and number.value or number)
  end
  return format:format(table.unpack(values))
end

-- Where a curve of the paper ends.
function common.last(points)
  return points[#points][2]
end

-- An empty list, and what puts a claim into it. prefix: of all names in it.
function common.list(prefix)
  local list = {}
  return list, function(entry)
    entry.id = prefix .. "." .. entry.id
    list[#list + 1] = entry
  end
end

return common
