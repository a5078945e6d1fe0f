-- The verdicts of several experiments together: for the page of all, and as Markdown.
-- sections: what lib.sections gives of each report, or {name, title, missing} where nothing was run.
local tables = require "lib.tables"
local verdicts = require "lib.verdicts"

local summary = {}

local columns = 100

-- "Table V" of "Table V: accuracy, time and so on".
function summary.short_title(section)
  return section.title:match("^(Table %w+):") or section.title:match("^(Figure %w+):") or section.title
end

function summary.each(sections, key, visit)
  for _, section in ipairs(sections) do
    for _, item in ipairs(section[key] or {}) do
      visit(item, section)
    end
  end
end

-- The verdicts that were given somewhere, and how often.
function summary.given(sections)
  local all, list = {}, {}
  summary.each(sections, "verdicts", function(entry)
    all[#all + 1] = entry
  end)
  local counts = verdicts.counts(all)
  for _, verdict in ipairs(verdicts.order) do
    list[#list + 1] = counts[verdict] and verdict or nil
  end
  return list, counts
end

function summary.runs_text(section)
  return section.missing and "none" or ("%d of %d"):format(#section.records, section.planned)
end

-- {entry, section} of the claims that a reader asks for first, in their order.
function summary.headlines(sections)
  local list = {}
  summary.each(sections, "verdicts", function(entry, section)
    list[#list + 1] = entry.headline and { entry, section, #list } or nil
  end)
  table.sort(list, function(a, b)
    return a[1].headline < b[1].headline or (a[1].headline == b[1].headline and a[3] < b[3])
  end)
  return list
end

-- "profile paper", and of several "profile reference, whose networks are trained as profiles paper and quick say".
function summary.profile_text(sections, profile)
  local seen, names = {}, {}
  summary.each(sections, "profiles", function(name)
    names[#names + 1] = not seen[name] and name or nil
    seen[name] = true
  end)
  table.sort(names)
  if #names == 0 or (#names == 1 and names[1] == profile) then
    return "profile " .. profile
  end
  local last = table.remove(names)
  return ("profile %s, whose networks are trained as %s say%s"):format(profile,
    #names > 0 and ("profiles %s and %s"):format(table.concat(names, ", "), last) or "profile " .. last,
    #names > 0 and "" or "s")
end

local function by_experiment(sections)
  local names, counts = summary.given(sections)
  local list = tables.new { "Experiment", "Runs", table.unpack(names) }
  local sums = { "All", "" }
  for _, section in ipairs(sections) do
    local of_section = verdicts.counts(section.verdicts or {})
    local texts = { summary.short_title(section), summary.runs_text(section) }
    for i, name in ipairs(names) do
      texts[i + 2] = section.missing and "-" or tostring(of_section[name] or 0)
      sums[i + 2] = tostring(counts[name])
    end
    list:add(table.unpack(texts))
  end
  list:add(table.unpack(sums))
  return list
end

local function main_claims(sections)
  local list = tables.new { { title = "Claim", align = "left" }, { title = "Place", align = "left" }, "Paper", "Here",
    { title = "Verdict", align = "left" } }
  local notes, marks = {}, {}
  for _, pair in ipairs(summary.headlines(sections)) do
    local entry, mark = pair[1], ""
    if entry.reason and entry.reason ~= "" then
      if not marks[entry.reason] then
        notes[#notes + 1] = entry.reason
        marks[entry.reason] = #notes
      end
      mark = (" (%d)"):format(marks[entry.reason])
    end
    list:add((entry.network and entry.network .. ": " or "") .. entry.text, entry.place,
      entry.expected ~= "" and entry.expected or "-", entry.measured, verdicts.text(entry) .. mark)
  end
  for i, text in ipairs(notes) do
    notes[i] = tables.wrap(("- (%d) %s"):format(i, text), columns, "  ")
  end
  return list, table.concat(notes, "\n")
end

function summary.markdown(sections, profile)
  local parts = { "# Verdicts", tables.wrap(("Of %s. Here: mean over seeds ± half of its 95 %% interval.")
    :format(summary.profile_text(sections, profile)), columns), tables.markdown(by_experiment(sections)) }
  local list, notes = main_claims(sections)
  if #list.rows > 0 then
    table.move({ "## What a reader asks first", tables.markdown(list), notes ~= "" and notes or nil },
      1, 3, #parts + 1, parts)
  end
  return table.concat(parts, "\n\n") .. "\n"
end

return summary
