"""The prompt and the concepts of every benchmark."""

CONCEPTS = ("horse", "field", "sky", "grass", "rider", *(f"thing {n}" for n in range(15)))
PROMPT = "A rider on a horse gallops across a field of grass under a wide sky."
