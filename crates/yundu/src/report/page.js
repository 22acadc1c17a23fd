document.getElementById("language").addEventListener("click", () => {
  const root = document.documentElement;
  const lang = root.dataset.lang === "zh" ? "en" : "zh";
  root.dataset.lang = lang;
  root.lang = lang === "zh" ? "zh-CN" : "en";
});
