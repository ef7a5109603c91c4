// Posts the form with the token behind the '#' of its link, which no server and no log has seen.
const form = document.querySelector("form");
const status = form.querySelector("[role=status]");
const token = new URLSearchParams(location.hash.slice(1)).get("token");

function say(text, bad) {
  status.textContent = text;
  status.classList.toggle("bad", bad);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.dataset.post, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    if (answer.ok) {
      form.replaceChildren(status);
      say(form.dataset.done, false);
      return;
    }
    say((await answer.json()).message, true);
  } catch {
    say("The control plane cannot be reached. Try again.", true);
  }
  button.disabled = false;
});

if (!token) say("This link has no token. Open it as it was given to you.", true);
