// Two fields that must hold the same password.

export function same(form) {
  const { password, again } = form.elements;
  const look = () => again.setCustomValidity(again.value && again.value !== password.value ? "The two passwords differ." : "");
  password.addEventListener("input", look);
  again.addEventListener("input", look);
}
