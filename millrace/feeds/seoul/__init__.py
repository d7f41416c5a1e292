"""The bikeList API of the Seoul Open Data Plaza."""
