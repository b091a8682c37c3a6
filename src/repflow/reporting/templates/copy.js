document.getElementById("copy-code").addEventListener("click", function (event) {
  var button = event.currentTarget, text = document.getElementById("code").textContent;
  function done() { button.textContent = "Copied"; setTimeout(function () { button.textContent = "Copy"; }, 1500); }
  if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done); return; }
  var area = document.createElement("textarea");
  area.value = text; document.body.appendChild(area); area.select();
  if (document.execCommand("copy")) { done(); }
  area.remove();
});
