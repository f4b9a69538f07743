"""How the depot hands out its pages."""

CURSOR = {
    "type": "cursor",
    "cursor_name_in_request": "cursor",
    "cursor_path_in_response": "next",
    "response_path": "items",
}
