"""Files: where a caller may go (`places`), and what can be done there. Blocking; to be called in threads."""
