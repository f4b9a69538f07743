"""How the providers of this project are paged."""

CURSOR = {
    "type": "cursor",
    "cursor_name_in_request": "cursor",
    "cursor_path_in_response": "next",
    "response_path": "items",
}
