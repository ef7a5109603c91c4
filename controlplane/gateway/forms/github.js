// Hands what GitHub sent the browser back with to the control plane. The tokens stay in this tab, for pages from here.
const status = document.querySelector("[role=status]");
const form = document.querySelector("form");
const again = document.querySelector("#again");
const query = location.search;
const BEGUN = "swarm.github.state";
const begun = sessionStorage.getItem(BEGUN);
sessionStorage.removeItem(BEGUN);
history.replaceState(null, "", location.pathname);

function say(text, bad) {
  status.textContent = text;
  status.classList.toggle("bad", bad);
}

async function ask(path, body) {
  const post = body && { method: "POST", body: JSON.stringify(body) };
  const headers = { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) };
  try {
    const answer = await fetch(path, { cache: "no-store", headers, ...post });
    return { ok: answer.ok, said: await answer.json() };
  } catch {
    return { ok: false, said: { message: "The control plane cannot be reached." } };
  }
}

function enter(tokens) {
  sessionStorage.setItem("swarm.tokens", JSON.stringify(tokens));
  form.hidden = true;
  document.querySelector("#on").hidden = false;
  say(`You are logged in as ${tokens.user.email}.`, false);
}

function fail(message) {
  say(message, true);
  again.hidden = false;
}

again.addEventListener("click", async () => {
  const found = await ask("/api/auth/github");
  if (!found.ok) return say(found.said.message, true);
  sessionStorage.setItem(BEGUN, found.said.state);
  location.assign(found.said.url);
});

// A way back that this tab did not begin may be somebody else's, who would have people work in their account.
async function finish() {
  if (begun === null || new URLSearchParams(query).get("state") !== begun) {
    return fail("This login was not begun in this window.");
  }
  const { ok, said } = await ask(location.pathname + query);
  if (!ok) return fail(said.message);
  if (said.tokens) return enter(said.tokens);
  form.hidden = false;
  say("GitHub knows you. Now the second factor.", false);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const code = form.elements.code.value.trim();
    const found = await ask("/api/auth/login/totp", { challenge: said.challenge, code });
    if (found.ok) enter(found.said);
    else fail(found.said.message);
  });
}

finish();
