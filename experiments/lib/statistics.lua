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

function statistics.median(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local middle = (#sorted + 1) // 2
  return #sorted % 2 == 1 and sorted[middle] or #sorted > 0 and (sorted[middle] + sorted[middle + 1]) / 2 or nil
end

-- Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; the normal quantile above.
local quantiles = {
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
  2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
}

-- Half the width of the 95 % interval of the mean; nil for fewer than two values.
function statistics.half_interval(values)
  local deviation = statistics.deviation(values)
  return deviation and (quantiles[#values - 1] or 1.960) * deviation / math.sqrt(#values)
end

return statistics
