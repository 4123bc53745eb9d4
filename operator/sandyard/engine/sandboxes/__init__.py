"""What `sandyard.sandbox` decides is prepared and carried out here."""
