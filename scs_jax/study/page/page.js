// The raters' page. The server knows what is asked and what was answered; here are only the code by
// which it knows the rater, and an answer that it has not confirmed yet: both outlive the page.
"use strict";

const CROSS = 500; // milliseconds between an answer and the next pictures
const AGAIN = 2000; // milliseconds until what failed is tried again
const $ = id => document.getElementById(id);
const sleep = time => new Promise(done => setTimeout(done, time));
const stored = { code: "scs-jax study code", vote: "scs-jax study vote" };

let now = null; // the question at hand, as the server put it
let began = 0; // when its pictures appeared; 0: they have not
let showing = 0; // counts what is shown, so that what was overtaken stops
let choices = []; // the buttons, in order

const KINDS = {
  pairwise: {
    question: "Which picture looks more authentic?",
    about: seconds => "You will see two pictures of the same thing" +
      (seconds ? `, for ${seconds === 1 ? "one second" : `${seconds} seconds`}` : "") +
      ". Choose the one that looks more authentic: more like a true photograph. If you are not " +
      "sure, follow your first impression.",
    touch: "A tap on the picture or its button chooses it.",
    keys: "The arrow keys choose, too; P pauses.",
    answers: () => matchMedia("(orientation: portrait)").matches
      ? [["Upper one", "↑"], ["Lower one", "↓"]] : [["Left one", "←"], ["Right one", "→"]],
    pick: key => ({ ArrowLeft: 0, ArrowUp: 0, ArrowRight: 1, ArrowDown: 1 })[key],
  },
  levels: {
    question: "How right are the colours?",
    about: () => "You will see pictures, one at a time. Say how right the colours of each are, in " +
      "five levels. Where a second picture stands beside it, that one shows the colours of the " +
      "scene.",
    touch: "Tap a level.",
    keys: "The keys 1 to 5 choose, too; P pauses.",
    answers: () => now.levels.map((name, i) => [name, `${i + 1}`]),
    pick: key => /^[1-5]$/.test(key) ? key - 1 : undefined,
  },
};

function only(id) {
  for (const part of document.querySelectorAll("main")) part.hidden = part.id !== id;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// Asks until there is an answer: a server that is away, or cannot save, comes back.
async function ask(action, body) {
  for (;;) {
    let why = "The study cannot be reached.";
    try {
      const reply = await fetch(`api/${action}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      const content = await reply.json();
      if (reply.status < 500) {
        trouble("");
        return reply.ok ? content : { ...content, status: reply.status };
      }
      why = content.error;
    } catch (error) { /* no connection, or no JSON: as if it were away */ }
    trouble(`${why} Your answers are kept here; please leave this page open, it tries again.`);
    await sleep(AGAIN);
  }
}

async function load(url) {
  for (;;) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.src = url;
    try {
      await image.decode();
      return image;
    } catch (error) {
      trouble("A picture cannot be loaded; this page tries again.");
      await sleep(AGAIN);
      trouble("");
    }
  }
}

function figure(image, caption) {
  const made = document.createElement("figure");
  made.append(image);
  if (caption) {
    const text = document.createElement("figcaption");
    text.textContent = caption;
    made.append(text);
  }
  return made;
}

function drawAnswers() {
  choices = KINDS[now.kind].answers().map(([name, key], i) => {
    const button = document.createElement("button");
    const hint = document.createElement("kbd");
    button.type = "button";
    button.disabled = !began;
    hint.textContent = key;
    button.append(name, hint);
    button.addEventListener("click", () => vote(i));
    return button;
  });
  $("answers").replaceChildren(...choices);
}

// Shows a question: a cross, then the pictures, and covers them after the time of the design.
async function show(question) {
  const turn = ++showing;
  now = question;
  began = 0;
  if (!now.pictures) {
    only("done");
    return;
  }
  const kind = KINDS[now.kind];
  document.body.className = now.kind;
  $("question").textContent = kind.question;
  $("count").textContent = `${now.position + 1} of ${now.total}`;
  $("progress").max = now.total;
  $("progress").value = now.position;
  only("trial");
  drawAnswers();
  const place = $("pictures");
  place.className = "covered waiting";
  const [shown, scene] = await Promise.all([
    Promise.all(now.pictures.map(load)), Promise.all(now.scene.map(load)),
    now.kind === "pairwise" && sleep(CROSS),
  ]);
  if (turn !== showing) return;
  if (document.hidden) {
    rest(now);
    return;
  }
  const figures = shown.map(image => figure(image, scene.length ? "To be judged" : ""));
  if (now.kind === "pairwise") {
    figures.forEach((made, i) => {
      made.classList.add("choice");
      made.addEventListener("click", () => vote(i));
    });
  }
  place.replaceChildren(...figures, ...scene.map(image => figure(image, "Colours of the scene")));
  place.className = "";
  await new Promise(requestAnimationFrame);
  if (turn !== showing) return;
  began = performance.now();
  for (const button of choices) button.disabled = false;
  for (const url of now.ahead) new Image().src = url;
  if (now.display) {
    await sleep(1000 * now.display);
    if (turn === showing) place.className = "covered";
  }
}

async function vote(answer) {
  if (!began) return;
  const seconds = (performance.now() - began) / 1000;
  began = 0;
  showing++;
  for (const button of choices) button.disabled = true;
  $("pictures").className = "covered waiting";
  const body = { code: localStorage[stored.code], position: now.position, answer, seconds };
  localStorage[stored.vote] = JSON.stringify(body);
  await take(await ask("vote", body));
}

// Goes on by the server's reply to a vote or to `next`.
async function take(reply) {
  delete localStorage[stored.vote];
  if (reply.status === 403) {
    delete localStorage[stored.code];
    only("start");
    trouble(reply.error);
  } else if (reply.error) {
    const next = await ask("next", { code: localStorage[stored.code] });
    trouble(reply.error);
    rest(next);
  } else {
    await show(reply);
  }
}

// Between questions: what is asked, the code, and a button that goes on.
function rest(question) {
  showing++;
  began = 0;
  now = question;
  if (!now.pictures) {
    only("done");
    return;
  }
  const kind = KINDS[now.kind];
  const fresh = now.position === 0;
  $("heading").textContent = fresh ? kind.question : `${now.position} of ${now.total} answered`;
  $("about").textContent = kind.about(now.display);
  $("touch").textContent = kind.touch;
  $("keys").textContent = kind.keys;
  $("own").textContent = localStorage[stored.code].match(/.{1,4}/g).join("-");
  $("go").textContent = fresh ? "Begin" : "Go on";
  only("rest");
  $("go").focus();
}

async function enter(code) {
  const reply = await ask("next", { code });
  if (reply.error) {
    delete localStorage[stored.code];
    only("start");
    trouble(reply.error);
    return;
  }
  localStorage[stored.code] = code.toUpperCase().replace(/[^0-9A-Z]/g, "");
  rest(reply);
}

function pause() {
  if (!$("trial").hidden && now && !localStorage[stored.vote]) rest(now);
}

$("join").addEventListener("submit", async event => {
  event.preventDefault();
  const button = $("join").querySelector("button");
  const ticket = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  button.disabled = true; // a second tap would enter the name twice
  const reply = await ask("join", { name: $("name").value, ticket });
  button.disabled = false;
  if (reply.error) trouble(reply.error);
  else await enter(reply.code);
});
$("return").addEventListener("submit", event => {
  event.preventDefault();
  enter($("code").value);
});
$("go").addEventListener("click", () => { trouble(""); show(now); });
$("pause").addEventListener("click", pause);
$("other").addEventListener("click", () => {
  delete localStorage[stored.code];
  location.reload();
});
document.addEventListener("keydown", event => {
  const typing = event.target.tagName === "INPUT";
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing || $("trial").hidden)
    return;
  const answer = KINDS[now.kind].pick(event.key);
  if (answer !== undefined) {
    event.preventDefault();
    vote(answer);
  } else if (event.key === "p" || event.key === "P" || event.key === "Escape") {
    pause();
  }
});
document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });
matchMedia("(orientation: portrait)").addEventListener("change", () => { if (now) drawAnswers(); });

(async () => {
  if (!localStorage[stored.code]) {
    only("start");
    return;
  }
  const unconfirmed = localStorage[stored.vote];
  if (unconfirmed) await ask("vote", JSON.parse(unconfirmed));
  delete localStorage[stored.vote];
  await enter(localStorage[stored.code]);
})();
