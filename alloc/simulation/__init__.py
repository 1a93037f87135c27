"""A platform in a box: users, creators, a user-side recommender and the allocation in one closed loop, the truth known."""
