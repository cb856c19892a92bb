"""Platform sellers set prices and hold stock; people and agents shop; sellers learn by recurrent MAPPO."""
