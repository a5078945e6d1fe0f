-- Means over seeds, and how far to trust them.
local statistics = {}

function statistics.mean(values)
  local sum = 0
  for _, value in ipairs(values) do
    sum = sum + value
  end
  return #values > 0 and sum / #values or nil
end

-- Sample standard deviation; nil for fewer than two values.
function statistics.deviation(values)
  if #values < 2 then
    return nil
  end
  local mean, sum = statistics.mean(values), 0
  for _, value in ipairs(values) do
    sum = sum + (value - mean) ^ 2
  end
  return math.sqrt(sum / (#values - 1))
end

-- The chance that Student's t with so many degrees of freedom (whole ones) lies between -t and t: the finite sums over
-- powers of the cosine, which are exact.
function statistics.student(t, degrees)
  local angle = math.atan(t / math.sqrt(degrees))
  local cosine = math.cos(angle)
  local odd = degrees % 2
  local term = odd == 1 and cosine or 1
  local sum = degrees > 1 and term or 0
  for power = 2 + odd, degrees - 2, 2 do
    term = term * cosine ^ 2 * (power - 1) / power
    sum = sum + term
  end
  sum = sum * math.sin(angle)
  return odd == 1 and 2 / math.pi * (angle + sum) or sum
end

local level = 0.95
local quantiles = {} -- by degrees of freedom

-- The t that the middle 95 % lie within, by halving.
function statistics.quantile(degrees)
  if not quantiles[degrees] then
    local low, high = 0, 16
    while high - low > 1e-12 * high do
      local middle = (low + high) / 2
      if statistics.student(middle, degrees) < level then
        low = middle
      else
        high = middle
      end
    end
    quantiles[degrees] = (low + high) / 2
  end
  return quantiles[degrees]
end

-- Half the width of the 95 % interval of the mean of so many values of that deviation.
local function half_width(deviation, count)
  return statistics.quantile(count - 1) * deviation / math.sqrt(count)
end

-- The same of the values themselves; nil for fewer than two.
function statistics.half_interval(values)
  local deviation = statistics.deviation(values)
  return deviation and half_width(deviation, #values)
end

statistics.most_seeds = 1000

-- How many values of that deviation make half of the interval at most `half`; nil where most_seeds do not.
function statistics.seeds_for(deviation, half)
  if half <= 0 or half_width(deviation, statistics.most_seeds) > half then
    return nil
  end
  local low, high = 1, statistics.most_seeds -- too few, enough
  while high - low > 1 do
    local middle = (low + high) // 2
    if half_width(deviation, middle) > half then
      low = middle
    else
      high = middle
    end
  end
  return high
end

return statistics
