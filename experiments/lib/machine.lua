-- What a machine is and does at most, as records have it. Loading this adds the metrics below to lib.results.
--
--   machine.fact(row, path)        a text of the first record, or "-" with the reason
--   machine.number(row, metric)    as row:text
local results_of = require "lib.results"

local machine = {}

local function scaled(path, factor)
  return function(record)
    local value = results_of.at_path(record, path)
    return type(value) == "number" and value * factor or nil
  end
end

local function peak(name, factor)
  return scaled("provenance.peaks." .. name, factor)
end

local function int8_speed(record)
  local int8, fp32 = peak("int8_operations_per_second", 1)(record), peak("fp32_operations_per_second", 1)(record)
  return int8 and fp32 and int8 / fp32
end

local function no_peak(record)
  return results_of.at_path(record, "config.measure_peaks") and "measured on the backend cpu only"
    or "measured where --measure-peaks asks for it"
end

local function no_power(record)
  return results_of.at_path(record, "energy.reason")
end

-- {name, title, unit, how it is read, why it may be missing}. A processor's count and its memory change with no seed.
local metrics = {
  { "processors", "processors", "", scaled("provenance.machine.processors", 1), exact = true },
  { "machine_memory", "memory of the machine", "GB", scaled("provenance.machine.memory_bytes", 1e-9), exact = true },
  { "memory_bandwidth", "memory traffic at most", "GB/s", peak("memory_bytes_per_second", 1e-9), no_peak },
  { "power", "mean power while training", "W", scaled("energy.mean_watts", 1), no_power },
  { "int8_peak", "INT8 operations at most", "TOPS", peak("int8_operations_per_second", 1e-12), no_peak },
  { "fp32_peak", "FP32 operations at most", "TOPS", peak("fp32_operations_per_second", 1e-12), no_peak },
  { "int8_speed", "INT8 operations against FP32's, at most", "times", int8_speed, no_peak },
}

for _, metric in ipairs(metrics) do
  results_of.metrics[metric[1]] = { title = metric[2], unit = metric[3], read = metric[4], why = metric[5],
    exact = metric.exact }
end

function machine.fact(row, path, reason)
  local record = row:record()
  local text = record and results_of.at_path(record, path)
  if type(text) == "string" then
    return row:traced(text, "processors")
  end
  return "-" .. row.results:note(record and reason or row:gap("processors") or reason)
end

return machine
