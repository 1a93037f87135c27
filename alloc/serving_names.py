"""The names of the files that a night publishes for items that come after it."""

SERVING = "serving"
"""Their folder in a run."""

TOWERS_FILE, TREES_FILE, ABOUT_FILE = "towers.safetensors", "item_rate_trees.json", "serving.json"

OF_USERS = ("user_vector", "user_bias", "user_rate", "factor")
OF_ITEMS = (
    "heat",
    "same_day",
    "token_rate",
    "creator_rate",
    "group_rate",
    "similar",
    "near_content",
    "near_met",
    "near_weight",
)
CREATORS = "creators"

SERVING_FILES = (
    TOWERS_FILE,
    TREES_FILE,
    ABOUT_FILE,
    *(f"{name}.npy" for name in (*OF_USERS, *OF_ITEMS, CREATORS)),
)
