-- Gates and claims as JUnit XML, which CI services show: each gate and each claim is a test case. A failed gate is a failure,
-- the only kind there is; a claim that was not shown is skipped, with the verdict as its message. docs/claims.md.
local verdicts = require "lib.verdicts"

local junit = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;", ["\t"] = "&#9;" }

-- Texts come from scripts and records, so anything can be in them: what XML 1.0 cannot hold becomes a question mark.
local function escaped(text)
  if not utf8.len(text) then
    text = text:gsub("[\x80-\xff]", "?")
  end
  text = text:gsub("\xef\xbf[\xbe\xbf]", "?")
  return (text:gsub('[%c&<>"]', function(character)
    return entities[character] or "?"
  end))
end

local function attributes(list)
  local parts = {}
  for i, pair in ipairs(list) do
    parts[i] = (' %s="%s"'):format(pair[1], escaped(tostring(pair[2])))
  end
  return table.concat(parts)
end

-- {name =, outcome = passed | failed | skipped, message =}
local function case_text(class, case)
  local opening = "    <testcase" .. attributes { { "classname", class }, { "name", case.name } }
  if case.outcome == "passed" then
    return ("%s>\n      <system-out>%s</system-out>\n    </testcase>"):format(opening, escaped(case.message))
  end
  local element = case.outcome == "failed" and "failure" or "skipped"
  return ("%s>\n      <%s%s/>\n    </testcase>"):format(opening, element, attributes { { "message", case.message } })
end

local function count(cases, outcome)
  local number = 0
  for _, case in ipairs(cases) do
    number = number + (case.outcome == outcome and 1 or 0)
  end
  return number
end

local function suite_text(name, cases)
  local lines = { "  <testsuite" .. attributes { { "name", name }, { "tests", #cases },
    { "failures", count(cases, "failed") }, { "errors", 0 }, { "skipped", count(cases, "skipped") } } .. ">" }
  for _, case in ipairs(cases) do
    lines[#lines + 1] = case_text(name, case)
  end
  lines[#lines + 1] = "  </testsuite>"
  return table.concat(lines, "\n")
end

local function gate_cases(gates)
  local cases = {}
  for i, gate in ipairs(gates) do
    cases[i] = { name = ("%s: %s"):format(gate.subject, gate.wanted), outcome = gate.status, message = gate.found }
  end
  return cases
end

local function claim_message(entry)
  local found = entry.reason or ("%s here, %s in the paper"):format(entry.measured, entry.expected)
  return ("%s: %s (%s)"):format(verdicts.text(entry), found, entry.claim.place)
end

local function claim_cases(entries)
  local cases = {}
  for i, entry in ipairs(entries) do
    local network = entry.network and entry.network .. ", " or ""
    cases[i] = { name = ("%s: %s%s"):format(entry.claim.id, network, entry.text),
      outcome = verdicts.passing[entry.verdict] and "passed" or "skipped", message = claim_message(entry) }
  end
  return cases
end

-- gates and entries as from lib.gates and lib.verdicts.
function junit.text(results, gates, entries)
  local gate_list, claim_list = gate_cases(gates), claim_cases(entries)
  local name = ("%s.%s"):format(results.name, results.profile)
  return table.concat({
    '<?xml version="1.0" encoding="UTF-8"?>',
    "<testsuites" .. attributes { { "name", "ffbench " .. name }, { "tests", #gate_list + #claim_list },
      { "failures", count(gate_list, "failed") } } .. ">",
    suite_text(name .. ".gates", gate_list),
    suite_text(name .. ".claims", claim_list),
    "</testsuites>",
    "",
  }, "\n")
end

return junit
