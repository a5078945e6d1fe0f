-- For tests/test_page.c: an experiment whose every text would be markup, were it not escaped.
local figures = require "lib.figures"
local tables = require "lib.tables"

local nasty = [[<script>alert("x")</script> & 'quoted' ]] .. "\u{E000}999\u{E001}\7"

return experiment {
  name = "alpha",
  title = "Alpha " .. nasty,
  profiles = { smoke = { epochs = 2, batch = 50, synthetic_train = 700, synthetic_test = 200, seeds = { 1, 2 } } },
  models = { mlp = { dataset = "synthetic_digits", title = "Network " .. nasty, options = { hidden = { 16 } } } },
  algorithms = { { "bp_fp32", title = "FP32 " .. nasty }, { "bp_int8", title = "INT8" } },
  claims = {
    { id = "small", text = "memory of {row} " .. nasty, place = "Table " .. nasty, kind = "value", model = "mlp",
      row = "bp_int8", metric = "memory", at_most = 1000, headline = 2 },
    { id = "tiny", text = "{row} takes none", place = "Table I", kind = "value", model = "mlp", row = "bp_fp32",
      metric = "memory", at_most = 0, headline = 1 },
    { id = "odd", text = "1 is 2 " .. nasty, place = "Section I", kind = "contradiction", evidence = "It is not. " .. nasty },
  },
  report = function(results)
    local list = tables.new { { title = "Row " .. nasty, align = "left" }, { title = "Accuracy %", align = "right" },
      { title = "Time s", align = "right" }, { title = "A column that no telephone shows whole", align = "right" } }
    local series = {}
    for i, row in ipairs(results.models[1].rows) do
      list:add(row.title, row:text("accuracy"), row:text("time") .. results:note("a note " .. nasty),
        row:text("memory") .. (" of a number that is not broken into several lines, %d"):format(i))
      series[i] = { title = row.title, points = figures.by_epoch(row, "loss") }
    end
    return { { heading = "Heading " .. nasty }, list, "Words " .. nasty .. " and `code`", { list = { "Item " .. nasty } },
      figures.new { name = "alpha", title = "Figure " .. nasty, caption = "Caption " .. nasty, x = { title = "Epoch" },
        y = { title = "Loss " .. nasty }, series = series } }
  end,
}
