const find = (selector) => document.querySelector(selector);
const euro = (cents) =>
  `€ ${(cents / 100).toLocaleString("en", { minimumFractionDigits: 2 })}`;

function showCount(cart) {
  find("[data-count]").textContent = cart.count;
  find("[data-count]").hidden = cart.count === 0;
}

function line(item) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const price = document.createElement("span");
  name.textContent = `${item.quantity} × ${item.name}`;
  price.textContent = euro(item.quantity * item.price_cents);
  row.append(name, price);
  return row;
}

async function readCart(url = "/cart", options = {}) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(`The cart answers ${answer.status}`);
  const cart = await answer.json();
  showCount(cart);
  return cart;
}

find("[data-cart]").addEventListener("click", async () => {
  const cart = await readCart();
  find("[data-items]").replaceChildren(...cart.items.map(line));
  find("[data-total]").textContent = euro(cart.total_cents);
  find("[data-order]").disabled = cart.count === 0;
  find("dialog").showModal();
});

find("[data-close]").addEventListener("click", () => find("dialog").close());

for (const button of document.querySelectorAll("[data-add]")) {
  button.addEventListener("click", async () => {
    try {
      await readCart(button.dataset.add, { method: "POST" });
      button.textContent = "In your cart";
    } catch {
      button.textContent = "Please try again";
    }
  });
}

readCart().catch(() => {});
