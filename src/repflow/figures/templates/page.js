(function () {
  "use strict";
  function each(selector, act) { document.querySelectorAll(selector).forEach(act); }
  function save(text, name, type) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: type }));
    link.download = name;
    document.body.appendChild(link); link.click(); link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }
  each("[data-copy]", function (button) {
    button.addEventListener("click", function () {
      var text = document.getElementById(button.dataset.copy).textContent, said = button.textContent;
      function done() { button.textContent = "Copied"; setTimeout(function () { button.textContent = said; }, 1500); }
      if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done); return; }
      var area = document.createElement("textarea");
      area.value = text; document.body.appendChild(area); area.select();
      if (document.execCommand("copy")) { done(); }
      area.remove();
    });
  });
  each("[data-download]", function (button) {
    button.addEventListener("click", function () {
      var text = JSON.parse(document.getElementById(button.dataset.download).textContent);
      save(text, button.dataset.name, button.dataset.type);
    });
  });
  // What a figure draws, one row a point: of a heat map one row a cell.
  function rows(plot) {
    var table = [["trace", "x", "y", "value", "error_y"]];
    plot._fullData.forEach(function (trace) {
      var name = /^trace [0-9]+$/.test(trace.name || "trace 0") ? trace.type : trace.name, x = trace.x || [], y = trace.y || [];
      if (trace.z) {
        Array.from(trace.z).forEach(function (line, j) {
          Array.from(line).forEach(function (z, i) { table.push([name, x[i], y[j], z, ""]); });
        });
        return;
      }
      var errors = (trace.error_y && trace.error_y.visible && trace.error_y.array) || [];
      for (var i = 0; i < Math.max(x.length, y.length); i++) {
        // A trace without points stands for a name in the legend.
        if (x[i] !== null && x[i] !== undefined) { table.push([name, x[i], y[i], "", errors[i]]); }
      }
    });
    return table;
  }
  function cell(value) {
    var text = value === undefined || value === null ? "" : String(value);
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }
  window.repflowFigureCsv = function (id) {
    return rows(document.getElementById(id)).map(function (row) { return row.map(cell).join(","); }).join("\n") + "\n";
  };
  each("[data-figure]", function (button) {
    button.addEventListener("click", function () {
      var id = button.dataset.figure;
      save(window.repflowFigureCsv(id), id + ".csv", "text/csv");
    });
  });
})();
