"""Names of the searches that find candidates, as they stand in matches.parquet."""

from ..solvers.candidate_lists import BY_PRICE, FIRST_COME, FIRST_FREE_CODE, FREE_PLACES

TWO_TOWER, I2I2U, I2U2U, USER_SIDE = range(FIRST_FREE_CODE, FIRST_FREE_CODE + 4)

SOURCES = {
    TWO_TOWER: "two_tower",
    I2I2U: "i2i2u",
    I2U2U: "i2u2u",
    USER_SIDE: "user_side",
    FIRST_COME: "sequential",
    BY_PRICE: "price_round",
    FREE_PLACES: "free_places",
}
"""Code of a search -> its name. A candidate that several found counts for the first of them, in this order."""
